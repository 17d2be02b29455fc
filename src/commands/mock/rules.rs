//! One flag for every rule option of the mock, generated from the table of rule options.

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::mock::{MockRules, RULE_OPTIONS};

/// The rules, as chosen by flags.
#[derive(Debug, Clone, Default)]
pub struct RuleArgs {
    /// The documented defaults, with the options that were chosen.
    pub rules: MockRules,
}

impl FromArgMatches for RuleArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut chosen = Self::default();
        chosen.update_from_arg_matches(matches)?;
        Ok(chosen)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for option in RULE_OPTIONS {
            if let Some(text) = matches.get_one::<String>(option.name) {
                option
                    .set_value(&mut self.rules, text)
                    .map_err(|message| Error::raw(ErrorKind::InvalidValue, message + "\n"))?;
            }
        }
        Ok(())
    }
}

/// The text with a capital first letter, as all help has.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

impl Args for RuleArgs {
    fn augment_args(command: Command) -> Command {
        RULE_OPTIONS.iter().fold(command, |command, option| {
            let heading = if option.open {
                "Behaviour that the service leaves open"
            } else {
                "Rules of the service"
            };
            command.arg(
                Arg::new(option.name)
                    .long(option.name)
                    .value_name(option.value_name)
                    .help(format!(
                        "{} [default: {}]",
                        capitalized(option.point),
                        option.default()
                    ))
                    .hide_short_help(true)
                    .help_heading(heading),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
