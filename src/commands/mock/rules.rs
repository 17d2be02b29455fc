//! A flag for every rule of the mock that can be chosen, made from the mock's own table, so that help, flags and rules
//! cannot tell different stories.

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::mock::{MockRules, RULE_OPTIONS};

/// The rules, as chosen.
#[derive(Debug, Clone, Default)]
pub struct RuleArgs {
    /// The service's own rules, or the documented default where it leaves a point open, and what was chosen instead.
    pub rules: MockRules,
}

impl FromArgMatches for RuleArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut chosen = Self::default();
        chosen.update_from_arg_matches(matches)?;
        Ok(chosen)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for knob in RULE_OPTIONS {
            if let Some(text) = matches.get_one::<String>(knob.name) {
                knob.choose(&mut self.rules, text)
                    .map_err(|message| Error::raw(ErrorKind::InvalidValue, message + "\n"))?;
            }
        }
        Ok(())
    }
}

impl Args for RuleArgs {
    fn augment_args(command: Command) -> Command {
        RULE_OPTIONS.iter().fold(command, |command, knob| {
            let heading = if knob.open {
                "Points that the service leaves open"
            } else {
                "Rules of the service"
            };
            command.arg(
                Arg::new(knob.name)
                    .long(knob.name)
                    .value_name("VALUE")
                    .help(format!(
                        "{}: {} (default: {})",
                        knob.point,
                        knob.values,
                        knob.default()
                    ))
                    .help_heading(heading),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
