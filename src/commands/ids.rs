//! The users of a command: named as arguments, in a list, or both.
//!
//! A list is read line by line while it is iterated. Standard input is read only if `-` is given.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

pub use crate::domain::id::summarize_ids;
use crate::domain::list::id_on_line;
use crate::domain::{IdList, IdSet, UserId};
use crate::exit::{Code, Failure};

/// How many users the service accepts in one call.
pub const BATCH: usize = 100;
/// The longest line of a list in bytes. A whole user as NDJSON fits.
const LINE_MAX_BYTES: u64 = 1024 * 1024;

/// Users by id, by list, or both.
#[derive(Debug, Clone, clap::Args)]
pub struct IdArgs {
    /// Users, by id
    #[arg(value_name = "ID", required_unless_present = "in_list")]
    pub ids: Vec<UserId>,

    /// Users of a list: a,b,c or @FILE (one id per line, or NDJSON) or - (stdin)
    #[arg(long = "in", id = "in_list", value_name = "LIST")]
    pub list: Option<IdList>,
}

impl IdArgs {
    /// The users, each once, in the order of the arguments.
    ///
    /// # Errors
    ///
    /// The file of the list cannot be opened. Items are errors if a line cannot be read or is not an id.
    pub fn read(&self) -> Result<impl Iterator<Item = Result<UserId, Failure>>, Failure> {
        self.read_with_duplicates().map(once_each)
    }

    fn read_with_duplicates(
        &self,
    ) -> Result<impl Iterator<Item = Result<UserId, Failure>>, Failure> {
        let listed = self.list.as_ref().map(read).transpose()?;
        let named = self.ids.iter().cloned().map(Ok);
        Ok(named.chain(listed.into_iter().flatten()))
    }

    /// The users, for commands that would otherwise run for ever with an empty list.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; also, the list is empty.
    pub fn read_some(&self) -> Result<Vec<UserId>, Failure> {
        let users: Vec<UserId> = self.read()?.collect::<Result<_, _>>()?;
        if users.is_empty() {
            return Err(empty_list());
        }
        Ok(users)
    }

    /// The same users as a compact set, for lists of a million.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_some`].
    pub fn read_set(&self) -> Result<IdSet, Failure> {
        let mut users = IdSet::default();
        for id in self.read_with_duplicates()? {
            users.insert(id?.as_str());
        }
        if users.is_empty() {
            return Err(empty_list());
        }
        Ok(users)
    }
}

fn empty_list() -> Failure {
    Failure::new(Code::Usage, "the list of users is empty")
        .hinted("name users as arguments, or put one id per line into the list of --in")
}

/// The ids of a list, including duplicates.
///
/// # Errors
///
/// The file cannot be opened. Items are errors if a line cannot be read or is not an id.
pub fn read(list: &IdList) -> Result<Box<dyn Iterator<Item = Result<UserId, Failure>>>, Failure> {
    Ok(match list {
        IdList::Given(ids) => Box::new(ids.clone().into_iter().map(Ok)),
        IdList::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| {
                Failure::new(
                    Code::Usage,
                    format!("cannot open {name} (from --in): {error}"),
                )
            })?;
            Box::new(lines(BufReader::new(file), name))
        }
        IdList::Stdin => Box::new(lines(io::stdin().lock(), "standard input".to_owned())),
    })
}

/// The ids of a list, each once, for commands that need all of them before they start.
///
/// # Errors
///
/// The list cannot be read, or a line is not an id.
pub fn read_all(list: &IdList) -> Result<Vec<UserId>, Failure> {
    once_each(read(list)?).collect()
}

fn lines(
    reader: impl BufRead + 'static,
    name: String,
) -> impl Iterator<Item = Result<UserId, Failure>> {
    let mut reader = reader;
    let mut number = 0;
    let mut is_over = false;
    std::iter::from_fn(move || {
        while !is_over {
            number += 1;
            let at_line = |message: &dyn std::fmt::Display| {
                Failure::new(Code::Usage, format!("{name}, line {number}: {message}"))
            };
            let line = match read_line(&mut reader) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    is_over = true;
                    return Some(Err(at_line(&error)));
                }
            };
            // Editors on Windows write a byte order mark at the start of a file.
            let line = match number {
                1 => line.strip_prefix('\u{feff}').unwrap_or(&line),
                _ => &line,
            };
            match id_on_line(line) {
                Ok(Some(id)) => return Some(Ok(id)),
                Ok(None) => {}
                Err(error) => return Some(Err(at_line(&error))),
            }
        }
        is_over = true;
        None
    })
}

/// Reads a line; `None` at the end of the input.
fn read_line(reader: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    reader
        .take(LINE_MAX_BYTES + 1)
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if line.len() as u64 > LINE_MAX_BYTES {
        return Err("longer than 1 MiB".to_owned());
    }
    if line.is_empty() {
        return Ok(None);
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| "not UTF-8".to_owned())
}

fn once_each(
    ids: impl Iterator<Item = Result<UserId, Failure>>,
) -> impl Iterator<Item = Result<UserId, Failure>> {
    let mut seen = IdSet::default();
    ids.filter(move |id| match id {
        Ok(id) => seen.insert(id.as_str()).1,
        Err(_) => true,
    })
}

/// The next batch of at most [`BATCH`] ids; empty at the end.
///
/// # Errors
///
/// The list cannot be read, or a line is not an id.
pub fn next_batch(
    ids: &mut impl Iterator<Item = Result<UserId, Failure>>,
) -> Result<Vec<UserId>, Failure> {
    ids.take(BATCH).collect()
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
    fn a_list_is_json_too_and_a_byte_order_mark_is_no_part_of_it() {
        let text = "\u{feff}a\r\n\"b\"\r\n{\"id\":\"c\",\"online\":true}\n  \"@d\"\n\"a\"";
        assert_eq!(from(text).unwrap(), ["a", "b", "c", "@d"]);
        for (text, reason) in [
            ("\"b c\"", "list.txt, line 1: `b c` is not a user id"),
            (
                "a\n{\"name\":\"x\"}",
                "list.txt, line 2: the object has no `id`",
            ),
            ("{\"id\":1}", "list.txt, line 1: the object has no `id`"),
            ("\"a", "list.txt, line 1: not valid JSON"),
            ("{\"id\":", "list.txt, line 1: not valid JSON"),
        ] {
            let message = from(text).unwrap_err().message;
            assert!(message.starts_with(reason), "{message}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let endless = BufReader::new(io::repeat(b'a'));
        let mut ids = lines(endless, "list.txt".to_owned());
        let refused = ids.next().unwrap().unwrap_err();
        assert_eq!(refused.message, "list.txt, line 1: longer than 1 MiB");
        assert!(ids.next().is_none());
    }

    #[test]
    fn an_empty_list_differs_from_a_short_one() {
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
        assert_eq!(args.read_set().unwrap().len(), 1);
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
