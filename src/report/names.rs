//! The names of users in a report: their ids, or pseudonyms.

use super::intervals::Person;

/// The naming of users in a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names {
    /// Whether ids and names are replaced by pseudonyms, and status texts left out.
    pub pseudonymize: bool,
}

impl Names {
    /// A user's id.
    pub fn id(self, person: &Person) -> String {
        if self.pseudonymize {
            format!("user-{}", person.number)
        } else {
            person.id.clone().into()
        }
    }

    /// A user's name.
    pub fn name(self, person: &Person) -> Option<String> {
        if self.pseudonymize {
            return Some(format!("User {}", person.number));
        }
        person.name.clone().map(Into::into)
    }

    /// The name of a user, or else the id.
    pub fn label(self, person: &Person) -> String {
        if self.pseudonymize {
            format!("User {}", person.number)
        } else {
            person.label().to_owned()
        }
    }

    /// A user's status text. It is left out with pseudonyms, because it can contain names.
    pub fn status(self, person: &Person) -> Option<String> {
        let status = person.status.clone().filter(|_| !self.pseudonymize);
        status.map(Into::into)
    }
}
