//! The names of users in a report: their ids, or pseudonyms.

use super::intervals::UserInfo;

/// The naming of users in a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names {
    /// Whether ids and names are replaced by pseudonyms, and status texts left out.
    pub pseudonymize: bool,
}

impl Names {
    /// A user's id.
    pub fn id(self, user_info: &UserInfo) -> String {
        if self.pseudonymize {
            format!("user-{}", user_info.number)
        } else {
            user_info.id.clone().into()
        }
    }

    /// A user's name.
    pub fn name(self, user_info: &UserInfo) -> Option<String> {
        if self.pseudonymize {
            return Some(format!("User {}", user_info.number));
        }
        user_info.name.clone().map(Into::into)
    }

    /// The name of a user, or else the id.
    pub fn label(self, user_info: &UserInfo) -> String {
        if self.pseudonymize {
            format!("User {}", user_info.number)
        } else {
            user_info.label().to_owned()
        }
    }

    /// A user's status text. It is left out with pseudonyms, because it can contain names.
    pub fn status(self, user_info: &UserInfo) -> Option<String> {
        let status = user_info.status.clone().filter(|_| !self.pseudonymize);
        status.map(Into::into)
    }
}
