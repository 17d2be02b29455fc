//! The order of dependencies: `src/lib.rs` states it, and this reads every path in the sources and holds them to it.
//!
//! Sources are read as tokens, so that paths inside macros count and paths inside comments and strings do not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A module's path below the crate, such as `commands::watch`. The crate itself is empty.
type ModulePath = Vec<String>;

#[derive(Debug)]
struct Module {
    /// Relative to `src`.
    file: PathBuf,
    tokens: TokenStream,
    /// Its modules, in files or inline.
    children: BTreeSet<String>,
    /// What its `use` items bring in, by the name they give it.
    imports: BTreeMap<String, ModulePath>,
    /// Whether it has a function `run`, and so is a command or a group of commands.
    has_run: bool,
    is_test: bool,
}

/// A path in one module that leads to another one.
#[derive(Debug, Clone)]
struct Dependency {
    from: ModulePath,
    line: usize,
    /// The path as the sources mean it, from the crate on.
    named: ModulePath,
    is_reexport: bool,
    is_test: bool,
}

#[derive(Debug, Default)]
struct Sources {
    modules: BTreeMap<ModulePath, Module>,
    dependencies: Vec<Dependency>,
}

impl Sources {
    fn read() -> Self {
        let mut sources = Self::default();
        sources.add_file(Vec::new(), Path::new("lib.rs"), Path::new(""), false);
        let paths: Vec<ModulePath> = sources.modules.keys().cloned().collect();
        for path in paths {
            let module = &sources.modules[&path];
            let mut found = Vec::new();
            let scope = Scope {
                path: &path,
                module,
            };
            scope.scan(&module.tokens, module.is_test, &mut found);
            for dependency in &found {
                let imports = &mut sources.modules.get_mut(&path).unwrap().imports;
                for (name, target) in &dependency.binds {
                    imports.insert(name.clone(), target.clone());
                }
            }
            let found = found.into_iter().map(|found| found.dependency);
            sources.dependencies.extend(found);
        }
        sources
    }

    fn add_file(&mut self, path: ModulePath, file: &Path, folder: &Path, is_test: bool) {
        let full = Path::new(SRC).join(file);
        let text = fs::read_to_string(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display()));
        let tokens: TokenStream = text.parse().expect("sources are Rust");
        self.add_module(path, tokens, file, folder, is_test);
    }

    fn add_module(
        &mut self,
        path: ModulePath,
        tokens: TokenStream,
        file: &Path,
        folder: &Path,
        is_test: bool,
    ) {
        let list: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut children = BTreeSet::new();
        let mut test = false;
        for (i, token) in list.iter().enumerate() {
            test |= is_test_attribute(token);
            let (true, Some(TokenTree::Ident(name))) = (is_word(token, "mod"), list.get(i + 1))
            else {
                test &= !ends_item(token);
                continue;
            };
            let name = name.to_string();
            let child: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
            let below = folder.join(&name);
            match list.get(i + 2) {
                Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
                    self.add_module(child, body.stream(), file, &below, is_test || test);
                }
                _ => {
                    let flat = folder.join(format!("{name}.rs"));
                    let nested = below.join("mod.rs");
                    let file = if Path::new(SRC).join(&flat).exists() {
                        flat
                    } else {
                        nested
                    };
                    self.add_file(child, &file, &below, is_test || test);
                }
            }
            children.insert(name);
        }
        let has_run = list
            .windows(2)
            .any(|pair| is_word(&pair[0], "fn") && is_word(&pair[1], "run"));
        let module = Module {
            file: file.to_owned(),
            tokens,
            children,
            imports: BTreeMap::new(),
            has_run,
            is_test,
        };
        self.modules.insert(path, module);
    }

    /// The module where what this path names is defined, through re-exports.
    fn definition(&self, named: &[String]) -> ModulePath {
        let mut named = named.to_vec();
        // A re-export may lead to another one; a bound, because a name can import itself.
        for _ in 0..10 {
            let depth = (0..=named.len())
                .rev()
                .find(|depth| self.modules.contains_key(&named[..*depth]))
                .expect("the crate itself is a module");
            let Some(name) = named.get(depth) else {
                return named;
            };
            match self.modules[&named[..depth]].imports.get(name) {
                Some(target) if *target != named => {
                    named = [target.clone(), named[depth + 1..].to_vec()].concat();
                }
                _ => return named[..depth].to_vec(),
            }
        }
        named
    }

    fn file(&self, module: &[String]) -> &Path {
        &self.modules[module].file
    }

    /// Where a dependency stands, and what it names.
    fn place(&self, dependency: &Dependency) -> String {
        let file = self.file(&dependency.from).display();
        let named = dependency.named.join("::");
        format!("src/{file}:{} names crate::{named}", dependency.line)
    }

    /// The command that a module is part of: the nearest module above it, or itself, with a function `run`.
    fn command<'a>(&self, module: &'a [String]) -> Option<&'a [String]> {
        (2..=module.len())
            .rev()
            .map(|depth| &module[..depth])
            .find(|path| path[0] == "commands" && self.modules[*path].has_run)
    }

    /// The files that each file imports, without re-exports and tests.
    fn imports(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let mut next: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for dependency in &self.dependencies {
            if dependency.is_reexport || dependency.is_test {
                continue;
            }
            let to = self.file(&self.definition(&dependency.named)).to_owned();
            let to = self.modules.values().find(|module| module.file == to);
            next.entry(self.file(&dependency.from))
                .or_default()
                .insert(&to.unwrap().file);
        }
        next
    }

    /// Circles of files that import each other, directly or through others. A `mod.rs` may import its files, and they
    /// what it shares, but not so that a circle leaves the folder.
    fn circles(&self) -> BTreeSet<BTreeSet<PathBuf>> {
        let imports = self.imports();
        let leave = circles_of(&imports)
            .into_iter()
            .filter(|files| folders(files) > 1);
        let is_shared = |from: &Path, to: &Path| {
            from.parent() == to.parent() && (from.ends_with("mod.rs") || to.ends_with("mod.rs"))
        };
        let others = imports
            .iter()
            .map(|(from, to)| {
                let to = to.iter().copied().filter(|to| !is_shared(from, to));
                (*from, to.collect())
            })
            .collect();
        leave.chain(circles_of(&others)).collect()
    }
}

fn folders(files: &BTreeSet<PathBuf>) -> usize {
    let folders: BTreeSet<_> = files.iter().map(|file| file.parent()).collect();
    folders.len()
}

/// The files of each circle.
fn circles_of(next: &BTreeMap<&Path, BTreeSet<&Path>>) -> BTreeSet<BTreeSet<PathBuf>> {
    let reach: BTreeMap<&Path, BTreeSet<&Path>> = next
        .keys()
        .map(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
            while let Some(file) = open.pop() {
                for to in next.get(file).into_iter().flatten() {
                    if seen.insert(*to) {
                        open.push(to);
                    }
                }
            }
            (*start, seen)
        })
        .collect();
    let circle = |(file, reached): (&&Path, &BTreeSet<&Path>)| {
        let back = |to: &&&Path| reach.get(**to).is_some_and(|there| there.contains(file));
        let files = reached.iter().filter(back);
        files.map(|to| to.to_path_buf()).collect::<BTreeSet<_>>()
    };
    let circles = reach.iter().map(circle);
    circles.filter(|files| files.len() > 1).collect()
}

/// A module whose tokens are read.
struct Scope<'a> {
    path: &'a ModulePath,
    module: &'a Module,
}

struct Found {
    dependency: Dependency,
    /// The names that a `use` item gives to what it imports.
    binds: Vec<(String, ModulePath)>,
}

impl Scope<'_> {
    fn scan(&self, tokens: &TokenStream, is_test: bool, found: &mut Vec<Found>) {
        let list: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut test = false;
        let mut i = 0;
        while i < list.len() {
            let before = i.checked_sub(1).map(|i| &list[i]);
            let token = &list[i];
            test |= is_test_attribute(token);
            let is_test_here = is_test || test;
            match token {
                TokenTree::Ident(word) if word == "mod" => {
                    // Inline modules are modules of their own.
                    i += 2;
                }
                TokenTree::Ident(word) if word == "use" => {
                    let is_reexport = starts_with_pub(&list[..i]);
                    let end = (i..list.len())
                        .find(|i| is_punct(&list[*i], ';'))
                        .unwrap_or(list.len());
                    let line = word.span().start().line;
                    self.read_use(&list[i + 1..end], &[], &mut |named, name| {
                        found.push(Found {
                            binds: vec![(name, named.clone())],
                            dependency: Dependency {
                                from: self.path.clone(),
                                line,
                                named,
                                is_reexport,
                                is_test: is_test_here,
                            },
                        });
                    });
                    i = end;
                }
                TokenTree::Ident(word) if !before.is_some_and(|token| is_punct(token, ':')) => {
                    let (path, after) = path_at(&list, i);
                    if path.len() > 1
                        && let Some(named) = self.absolute(&path)
                    {
                        found.push(Found {
                            binds: Vec::new(),
                            dependency: Dependency {
                                from: self.path.clone(),
                                line: word.span().start().line,
                                named,
                                is_reexport: false,
                                is_test: is_test_here,
                            },
                        });
                    }
                    i = after - 1;
                }
                TokenTree::Group(group) if !is_visibility(before, group) => {
                    self.scan(&group.stream(), is_test_here, found);
                }
                _ => {}
            }
            test &= !list.get(i).is_none_or(ends_item);
            i += 1;
        }
    }

    /// Calls back with each path of a `use` item and the name that it gets.
    fn read_use(
        &self,
        tree: &[TokenTree],
        prefix: &[String],
        each: &mut impl FnMut(ModulePath, String),
    ) {
        for branch in tree.split(|token| is_punct(token, ',')) {
            if branch.is_empty() {
                continue;
            }
            let (words, after) = path_at(branch, 0);
            let path = [prefix, &words].concat();
            match branch.get(after) {
                Some(TokenTree::Group(group)) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.read_use(&inner, &path, each);
                }
                rest => {
                    let renamed = rest.filter(|token| is_word(token, "as"));
                    let renamed = renamed.and_then(|_| branch.get(after + 1));
                    let mut path = path;
                    if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
                        path.pop();
                    }
                    let name = renamed.map_or_else(
                        || path.last().cloned().unwrap_or_default(),
                        ToString::to_string,
                    );
                    if let Some(named) = self.absolute(&path) {
                        each(named, name);
                    }
                }
            }
        }
    }

    /// A path from the crate on; `None` for one into another crate.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let mut base = self.path.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
            }
            child if self.module.children.contains(child) => return Some([&base, path].concat()),
            _ => return None,
        }
        rest = &rest[1..];
        while rest.first().is_some_and(|word| word == "super") {
            base.pop();
            rest = &rest[1..];
        }
        Some([&base, rest].concat())
    }
}

/// The words of a path that begins here, and where it ends.
fn path_at(list: &[TokenTree], start: usize) -> (Vec<String>, usize) {
    let mut words = Vec::new();
    let mut i = start;
    while let Some(TokenTree::Ident(word)) = list.get(i) {
        words.push(word.to_string());
        i += 1;
        let colons = list.get(i..i + 2);
        if colons.is_some_and(|colons| colons.iter().all(|colon| is_punct(colon, ':'))) {
            i += 2;
        } else {
            break;
        }
    }
    (words, i.max(start + 1))
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == punct)
}

fn is_test_attribute(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group)
        if group.delimiter() == Delimiter::Bracket && group.stream().to_string().replace(' ', "") == "cfg(test)")
}

fn ends_item(token: &TokenTree) -> bool {
    is_punct(token, ';')
        || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// Whether this group is the one in `pub(in crate::api)`.
fn is_visibility(before: Option<&TokenTree>, group: &Group) -> bool {
    group.delimiter() == Delimiter::Parenthesis && before.is_some_and(|token| is_word(token, "pub"))
}

fn starts_with_pub(before: &[TokenTree]) -> bool {
    match before {
        [.., word, TokenTree::Group(group)] if is_visibility(Some(word), group) => true,
        [.., word] => is_word(word, "pub"),
        [] => false,
    }
}

/// The rules as `src/lib.rs` states them.
#[derive(Debug, Default)]
struct Rules {
    order: Vec<String>,
    /// Modules with what they may not import although the order allows it.
    never: Vec<(String, Vec<String>)>,
    /// Modules with all they may import.
    only: Vec<(String, Vec<String>)>,
    /// Modules with all that may import them.
    importers: Vec<(String, Vec<String>)>,
}

impl Rules {
    fn read() -> Self {
        let text = fs::read_to_string(Path::new(SRC).join("lib.rs")).unwrap();
        let block = text
            .split("//! ```text\n")
            .nth(1)
            .and_then(|rest| rest.split("//! ```").next())
            .expect("src/lib.rs states the order in a block of text");
        let names = |text: &str| {
            text.split(", ")
                .map(|name| name.trim().to_owned())
                .collect()
        };
        let mut rules = Self::default();
        for line in block
            .lines()
            .map(|line| line.trim_start_matches("//!").trim())
        {
            if let Some((name, importers)) = line.split_once(" is imported only by ") {
                rules.importers.push((name.to_owned(), names(importers)));
            } else if let Some((name, imports)) = line.split_once(" imports only ") {
                rules.only.push((name.to_owned(), names(imports)));
            } else if let Some((name, imports)) = line.split_once(" does not import ") {
                rules.never.push((name.to_owned(), names(imports)));
            } else {
                let row = line.split('→').map(|name| name.trim().to_owned());
                rules.order.extend(row.filter(|name| !name.is_empty()));
            }
        }
        rules
    }

    /// What is wrong with an import of one top-level module by another.
    fn objection(&self, from: &[String], to: &str) -> Option<String> {
        let within = from.first()?.as_str();
        if within == to {
            return None;
        }
        let rank = |name: &str| self.order.iter().position(|known| known == name);
        if rank(within)? < rank(to)? {
            return Some(format!("`{to}` comes after `{within}`"));
        }
        let is_for = |rule: &&(String, Vec<String>), name: &str| rule.0 == name;
        let forbidden = |rules: &[(String, Vec<String>)], name: &str, other: &str, listed: bool| {
            let rule = rules.iter().find(|rule| is_for(rule, name))?;
            (rule.1.iter().any(|known| known == other) == listed).then_some(())
        };
        if forbidden(&self.never, within, to, true).is_some()
            || forbidden(&self.only, within, to, false).is_some()
        {
            return Some(format!("`{within}` may not import `{to}`"));
        }
        let (_, importers) = self.importers.iter().find(|rule| is_for(rule, to))?;
        let path = from.join("::");
        let allowed = importers
            .iter()
            .any(|name| path == *name || path.starts_with(&format!("{name}::")));
        (!allowed).then(|| format!("only {} may import `{to}`", importers.join(", ")))
    }
}

/// Fails on any violation.
fn check(violations: &BTreeSet<String>) {
    let violations: Vec<_> = violations.iter().map(String::as_str).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_order_names_every_module() {
    let order: BTreeSet<String> = Rules::read().order.into_iter().collect();
    let modules = Sources::read().modules[&Vec::new()].children.clone();
    let missing: Vec<_> = modules.difference(&order).collect();
    assert!(
        missing.is_empty(),
        "src/lib.rs gives no place to {missing:?}"
    );
}

#[test]
fn modules_import_only_what_comes_before_them() {
    let (sources, rules) = (Sources::read(), Rules::read());
    let violations = sources
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let to = dependency.named.first()?;
            let objection = rules.objection(&dependency.from, to)?;
            Some(format!("{}: {objection}", sources.place(dependency)))
        })
        .collect();
    check(&violations);
}

#[test]
fn no_command_imports_another_one() {
    let sources = Sources::read();
    let violations = sources
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let to = sources.definition(&dependency.named);
            let command = sources.command(&to)?;
            // A group runs its commands, and its commands share what is in the group.
            let from = &dependency.from;
            let is_related = from.starts_with(command) || command.starts_with(from);
            (!is_related).then(|| {
                let command = command.join("::");
                format!(
                    "{}: part of the command {command}",
                    sources.place(dependency)
                )
            })
        })
        .collect();
    check(&violations);
}

/// A reader who meets a name must know which type it is without looking at the imports. `User` is the service's user
/// everywhere. Tests are free, and so is the inside of a function.
#[test]
fn no_two_types_have_the_same_name() {
    let sources = Sources::read();
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for module in sources.modules.values().filter(|module| !module.is_test) {
        let list: Vec<TokenTree> = module.tokens.clone().into_iter().collect();
        for pair in list.windows(2) {
            let is_type = ["struct", "enum", "trait", "type", "union"];
            if is_type.iter().any(|keyword| is_word(&pair[0], keyword)) {
                let files = types.entry(pair[1].to_string()).or_default();
                files.push(module.file.display().to_string());
            }
        }
    }
    let violations = types
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| format!("`{name}` is defined in {}", files.join(" and in ")))
        .collect();
    assert!(types.len() > 100, "only {} types were found", types.len());
    check(&violations);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let violations = Sources::read()
        .circles()
        .iter()
        .map(|files| {
            let files: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            format!("a circle of {}", files.join(", "))
        })
        .collect();
    check(&violations);
}
