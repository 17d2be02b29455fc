//! Facts about the terminal: size, colour, whether stdout is one. They are read once per run and passed on as a value.

use std::io::{IsTerminal, stderr, stdin, stdout};

use crate::environment;

/// Which standard streams are terminals, and the properties of the terminal behind stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether stdin is a terminal.
    pub stdin: bool,
    /// Whether stdout is a terminal.
    pub stdout: bool,
    /// Whether stderr is a terminal.
    pub stderr: bool,
    /// The width of stdout in cells: `COLUMNS`, or else the terminal's size. `None` for a file or a pipe, whose lines
    /// are never cut.
    pub width: Option<usize>,
    /// Whether the whole screen behind stdout can be drawn on: it is a terminal, and `TERM` is not `dumb`.
    pub has_screen: bool,
    /// Whether stdout shows colours: it is a terminal, `TERM` is not `dumb`, and `NO_COLOR` is unset or empty.
    pub has_colour: bool,
}

impl Terminal {
    /// Reads the properties from the standard streams and the environment.
    pub fn detect() -> Self {
        let size = || terminal_size::terminal_size_of(stdout()).map(|(width, _)| width.0.into());
        Self::from_facts(
            [
                stdin().is_terminal(),
                stdout().is_terminal(),
                stderr().is_terminal(),
            ],
            size,
            environment::variable,
        )
    }

    fn from_facts(
        [stdin, stdout, stderr]: [bool; 3],
        size: impl FnOnce() -> Option<usize>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let columns = variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let is_dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let no_colour = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            stdin,
            stdout,
            stderr,
            width: columns.or_else(size).filter(|_| stdout),
            has_screen: stdout && !is_dumb,
            has_colour: stdout && !is_dumb && !no_colour,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_terminal(variables: &[(&str, &str)]) -> Terminal {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Terminal::from_facts([true; 3], || Some(80), value)
    }

    #[test]
    fn colour_needs_a_terminal_that_can_show_it() {
        assert!(at_terminal(&[("TERM", "xterm"), ("NO_COLOR", "")]).has_colour);
        assert!(!at_terminal(&[("TERM", "dumb")]).has_colour);
        assert!(!at_terminal(&[("NO_COLOR", "1")]).has_colour);
        assert!(at_terminal(&[("NO_COLOR", "1")]).has_screen);
        assert!(!at_terminal(&[("TERM", "dumb")]).has_screen);
        let piped = Terminal::from_facts([true, false, true], || None, |_| None);
        assert!(!piped.has_colour);
    }

    #[test]
    fn a_file_has_no_width() {
        assert_eq!(at_terminal(&[]).width, Some(80));
        assert_eq!(at_terminal(&[("COLUMNS", "120")]).width, Some(120));
        assert_eq!(at_terminal(&[("COLUMNS", "wide")]).width, Some(80));
        let columns = |name: &str| (name == "COLUMNS").then(|| "80".to_owned());
        let file = Terminal::from_facts([true, false, true], || None, columns);
        assert_eq!(file.width, None);
    }
}
