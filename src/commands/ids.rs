//! The users that a command is about: named on the command line, in a list, or both.
//!
//! Lists are read when they are iterated, a line at a time. Standard input is read only where `-` is written.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::domain::list::id_on_line;
use crate::domain::{IdList, UserId};
use crate::exit::{Code, Failure};

/// The most users that the service takes in one call.
pub const BATCH: usize = 100;

/// Users by id, by list, or both.
#[derive(Debug, Clone, clap::Args)]
pub struct IdArgs {
    /// The users
    #[arg(value_name = "ID", required_unless_present = "in_list")]
    pub ids: Vec<UserId>,

    /// The users of a list as well: a,b,c or @FILE (one id a line) or - (standard input)
    #[arg(long = "in", id = "in_list", value_name = "LIST")]
    pub list: Option<IdList>,
}

impl IdArgs {
    /// The users, each once, in the order in which they were named.
    ///
    /// # Errors
    ///
    /// The list's file cannot be opened. Items are errors where a line cannot be read or is no id.
    pub fn read(&self) -> Result<impl Iterator<Item = Result<UserId, Failure>>, Failure> {
        let listed = self.list.as_ref().map(read).transpose()?;
        let named = self.ids.iter().cloned().map(Ok);
        Ok(once_each(named.chain(listed.into_iter().flatten())))
    }
}

impl IdArgs {
    /// The users, for commands that would go on for ever without any.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; or there is nobody.
    pub fn read_some(&self) -> Result<Vec<UserId>, Failure> {
        let users: Vec<UserId> = self.read()?.collect::<Result<_, _>>()?;
        if users.is_empty() {
            return Err(Failure::new(Code::Usage, "the list of users is empty")
                .hinted("name some, or write one id a line into the list of --in"));
        }
        Ok(users)
    }
}

/// The ids of a list, as often as they stand there.
///
/// # Errors
///
/// The file cannot be opened. Items are errors where a line cannot be read or is no id.
pub fn read(list: &IdList) -> Result<Box<dyn Iterator<Item = Result<UserId, Failure>>>, Failure> {
    Ok(match list {
        IdList::Given(ids) => Box::new(ids.clone().into_iter().map(Ok)),
        IdList::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| {
                Failure::new(Code::Usage, format!("cannot open the list {name}: {error}"))
            })?;
            Box::new(lines(BufReader::new(file), name))
        }
        IdList::Stdin => Box::new(lines(io::stdin().lock(), "standard input".to_owned())),
    })
}

/// The ids of a list, each once and all in memory, for commands that need to know them before they start.
///
/// # Errors
///
/// The list cannot be read, or a line is no id.
pub fn read_all(list: &IdList) -> Result<Vec<UserId>, Failure> {
    once_each(read(list)?).collect()
}

fn lines(
    reader: impl BufRead + 'static,
    name: String,
) -> impl Iterator<Item = Result<UserId, Failure>> {
    reader.lines().enumerate().filter_map(move |(index, line)| {
        let place = || format!("{name}, line {}", index + 1);
        match line {
            Ok(line) => id_on_line(&line).transpose().map(|id| {
                id.map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", place())))
            }),
            Err(error) => {
                let message = format!("{}: cannot read it: {error}", place());
                Some(Err(Failure::new(Code::Usage, message)))
            }
        }
    })
}

fn once_each(
    ids: impl Iterator<Item = Result<UserId, Failure>>,
) -> impl Iterator<Item = Result<UserId, Failure>> {
    let mut seen = HashSet::new();
    ids.filter(move |id| match id {
        Ok(id) => seen.insert(id.clone()),
        Err(_) => true,
    })
}

/// The next batch of at most [`BATCH`] ids; empty at the end.
///
/// # Errors
///
/// One of them is an error.
pub fn next_batch(
    ids: &mut impl Iterator<Item = Result<UserId, Failure>>,
) -> Result<Vec<UserId>, Failure> {
    ids.take(BATCH).collect()
}

/// The first few of some ids in words, for messages.
pub fn summarize_ids<T: AsRef<str>>(ids: &[T]) -> String {
    const NAMED: usize = 5;
    let mut names: Vec<&str> = ids.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = ids.len().saturating_sub(NAMED);
    let rest = format!("and {more} more");
    if more > 0 {
        names.push(&rest);
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &'static str) -> Result<Vec<String>, Failure> {
        once_each(lines(text.as_bytes(), "list.txt".into()))
            .map(|id| id.map(String::from))
            .collect()
    }

    #[test]
    fn a_list_is_read_line_by_line_and_each_once() {
        assert_eq!(from("a\n# team\n\nb\r\na\nc").unwrap(), ["a", "b", "c"]);
        assert_eq!(
            from("a\n\nb c\n").unwrap_err().message,
            "list.txt, line 3: `b c` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them"
        );
    }

    #[test]
    fn an_empty_list_is_told_from_a_short_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let args = IdArgs {
            ids: Vec::new(),
            list: Some(IdList::File(file.path().to_owned())),
        };
        let refused = args.read_some().unwrap_err();
        assert_eq!(refused.code, Code::Usage);
        assert!(refused.message.contains("empty"), "{refused}");
        std::fs::write(file.path(), "a\n").unwrap();
        assert_eq!(args.read_some().unwrap().len(), 1);
    }

    #[test]
    fn batches_end_with_an_empty_one() {
        let mut ids = (0..250).map(|n| Ok(format!("u{n}").parse().unwrap()));
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(next_batch(&mut ids).unwrap().len()))
            .take(4)
            .collect();
        assert_eq!(sizes, [100, 100, 50, 0]);
    }

    #[test]
    fn many_ids_in_few_words() {
        assert_eq!(summarize_ids(&["a", "b"]), "a, b");
        let ids: Vec<String> = (1..=8).map(|n| n.to_string()).collect();
        assert_eq!(summarize_ids(&ids), "1, 2, 3, 4, 5, and 3 more");
    }
}
