//! `man`: the manual pages, generated from the command tree and the help topics.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::command_lookup;
use super::help_topics::Topic;
use crate::exit::Code;
use crate::settings::App;

/// The manual section of user commands.
const SECTION: &str = "1";

/// Flags of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  presencectl man
  presencectl man profile add
  presencectl man | man -l -
  presencectl man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Print the page of this command (default: presencectl itself)
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    pub words: Vec<String>,

    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Prints one page, or writes all pages into a directory. `root` is the whole, built command tree.
///
/// # Errors
///
/// The command does not exist, or the directory cannot be written.
pub fn run(app: &App, args: &ManArgs, root: &clap::Command) -> anyhow::Result<Code> {
    match &args.dir {
        Some(dir) if app.is_dry_run() => app
            .output()
            .status(&format!("{} is left as it is: --dry-run", dir.display())),
        Some(dir) => write_all(root, dir)?,
        None => {
            let command = command_lookup::find(root, &args.words)?;
            let page = page(command)?;
            if !app.terminal().stdout {
                io::stdout().lock().write_all(&page)?;
            } else if !show(&page)? {
                let text = command.clone().render_long_help();
                write!(io::stdout().lock(), "{text}")?;
            }
        }
    }
    Ok(Code::Ok)
}

/// Shows a page with the system's `man`. Returns whether there is one.
fn show(page: &[u8]) -> anyhow::Result<bool> {
    let mut file = tempfile::NamedTempFile::new().context("cannot write a page for man")?;
    file.write_all(page)
        .context("cannot write a page for man")?;
    let shown = Command::new("man").arg("-l").arg(file.path()).status();
    Ok(shown.is_ok_and(|status| status.success()))
}

fn write_all(root: &clap::Command, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    write_tree(root, dir)
}

fn write_tree(command: &clap::Command, dir: &Path) -> anyhow::Result<()> {
    let file = dir.join(Man::new(command.clone()).get_filename());
    fs::write(&file, page(command)?).with_context(|| format!("cannot write {}", file.display()))?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_tree(sub, dir)?;
    }
    Ok(())
}

/// One page in roff format.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let is_root = command
        .get_display_name()
        .is_none_or(|name| name == "presencectl");
    let man = Man::new(listed(command, is_root)).section(SECTION);
    let mut page = Vec::new();
    title(&man, &mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    let mut more = Roff::new();
    afterword(&mut more, command);
    if is_root {
        exit_status(&mut more);
        verbatim(&mut more, "ENVIRONMENT", &Topic::Environment.text());
    } else {
        more.control("SH", ["GLOBAL OPTIONS"]).text([
            roman("Every command also takes the global options of "),
            bold("presencectl"),
            roman("(1), which lists the exit codes and the environment too."),
        ]);
    }
    more.to_writer(&mut page)?;
    Ok(page)
}

/// The header line. The date is empty, so that the same sources always produce the same pages. The library drops empty
/// arguments, so the line is written here.
fn title(man: &Man, page: &mut Vec<u8>) -> io::Result<()> {
    let file = man.get_filename();
    let name = file.trim_end_matches(SECTION).trim_end_matches('.');
    writeln!(
        page,
        r#".TH "{name}" "{SECTION}" "" "presencectl {}" "presencectl manual""#,
        env!("CARGO_PKG_VERSION")
    )
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for code in Code::ALL {
        roff.control("TP", [])
            .text([bold(code.number().to_string())])
            .text([roman(code.meaning())]);
    }
}

/// The command as its page shows it. Global options are listed on the main page only, and the synopsis groups options
/// instead of listing each.
fn listed(command: &clap::Command, is_root: bool) -> clap::Command {
    let name = command.get_bin_name().unwrap_or("presencectl").to_owned();
    let mut usage = name;
    if command
        .get_arguments()
        .any(|argument| !argument.is_positional())
    {
        usage.push_str(" [OPTIONS]");
    }
    for argument in command
        .get_positionals()
        .filter(|argument| !argument.is_hide_set())
    {
        usage.push(' ');
        usage.push_str(&argument.to_string());
    }
    if command.has_subcommands() {
        usage.push_str(" COMMAND …");
    }
    command
        .clone()
        .override_usage(usage)
        .subcommand_help_heading("COMMANDS")
        .mut_args(|argument| {
            let elsewhere = argument.is_global_set() && !is_root;
            argument.hide(elsewhere)
        })
}

/// The text after a command's help: examples and notes.
fn afterword(roff: &mut Roff, command: &clap::Command) {
    let Some(text) = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
    else {
        return;
    };
    let text = text.to_string();
    let (remarks, examples) = match text.split_once("Examples:\n") {
        Some((remarks, examples)) => (remarks.trim(), examples),
        None => (text.trim(), ""),
    };
    if !remarks.is_empty() {
        roff.control("SH", ["NOTES"]);
        for line in remarks.lines() {
            roff.text([roman(line)]);
        }
    }
    if !examples.trim().is_empty() {
        verbatim(roff, "EXAMPLES", examples);
    }
}

/// A section whose lines are not wrapped.
fn verbatim(roff: &mut Roff, heading: &str, text: &str) {
    roff.control("SH", [heading]).control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use clap::{Args, Subcommand};

    use super::*;
    use crate::args::GlobalArgs;
    use crate::commands::Command;

    fn page_of(words: &[&str]) -> String {
        let root = GlobalArgs::augment_args(clap::Command::new("presencectl"));
        let mut root = Command::augment_subcommands(root).disable_help_subcommand(true);
        root.build();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        String::from_utf8(page(command_lookup::find(&root, &words).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_page_of_a_command_has_its_options_and_examples_and_not_the_global_ones() {
        let page = page_of(&["profile", "add"]);
        assert!(
            page.starts_with(".TH \"presencectl-profile-add\" \"1\""),
            "{page}"
        );
        assert!(page.contains(r"\fB\-\-secret\-file\fR"), "{page}");
        assert!(page.contains(".SH EXAMPLES"), "{page}");
        assert!(!page.contains(r"\-\-no\-headers"), "{page}");
    }

    #[test]
    fn the_first_page_has_what_all_commands_share() {
        let page = page_of(&[]);
        assert!(page.contains(r"\-\-no\-headers"), "{page}");
        for code in Code::ALL {
            assert!(
                page.contains(&format!("\\fB{}\\fR", code.number())),
                "{page}"
            );
        }
        assert!(page.contains("PRESENCECTL_PROFILE"), "{page}");
    }
}
