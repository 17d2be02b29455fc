//! The names of users in a report: their ids, or pseudonyms.

use super::intervals::Person;

/// Names users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names {
    /// Whether ids and names are replaced, and status texts left out.
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

    /// What to call a user: by their name, or the id where there is none.
    pub fn label(self, person: &Person) -> String {
        if self.pseudonymize {
            format!("User {}", person.number)
        } else {
            person.label().to_owned()
        }
    }

    /// A user's status. People write anything into it, their names too.
    pub fn status(self, person: &Person) -> Option<String> {
        let status = person.status.clone().filter(|_| !self.pseudonymize);
        status.map(Into::into)
    }
}
