//! The presence of a user, and the rule for what counts as a change of it.
//!
//! The four fields are the ones in the service's documentation: `online`, `invisible`, `status`, `last_active`. Values
//! are kept as the service sent them; `None` means that it did not send the field. The server decides who may see what.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::timestamp::Timestamp;

/// The presence of one user, as last seen by one observer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Whether a visible connection of the user exists.
    pub online: Option<bool>,
    /// Whether the user is invisible. The service does not show this to everybody.
    pub invisible: Option<bool>,
    /// The status text, a custom field by convention.
    pub status: Option<String>,
    /// When the user last connected (RFC 3339, as sent). Updated every 15 minutes while connected, and not at disconnect.
    pub last_active: Option<String>,
}

/// A field of [`Presence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceField {
    /// `online`
    Online,
    /// `invisible`
    Invisible,
    /// `status`
    Status,
    /// `last_active`
    LastActive,
}

impl PresenceField {
    /// All fields, in the order in which records list them.
    pub const ALL: [Self; 4] = [
        Self::Online,
        Self::Invisible,
        Self::Status,
        Self::LastActive,
    ];

    /// The name in the service's JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Invisible => "invisible",
            Self::Status => "status",
            Self::LastActive => "last_active",
        }
    }
}

/// A set of fields, as bits: one is made for each event, without an allocation.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceFields(u8);

impl PresenceFields {
    /// No field.
    pub const NONE: Self = Self(0);

    /// Adds a field.
    pub const fn insert(&mut self, field: PresenceField) {
        self.0 |= 1 << field as u8;
    }

    /// Whether the set contains a field.
    pub const fn contains(self, field: PresenceField) -> bool {
        self.0 & 1 << field as u8 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields, in the order of [`PresenceField::ALL`].
    pub fn iter(self) -> impl Iterator<Item = PresenceField> {
        PresenceField::ALL
            .into_iter()
            .filter(move |field| self.contains(*field))
    }
}

impl FromIterator<PresenceField> for PresenceFields {
    fn from_iter<I: IntoIterator<Item = PresenceField>>(fields: I) -> Self {
        fields.into_iter().fold(Self::NONE, |mut all, field| {
            all.insert(field);
            all
        })
    }
}

impl<const N: usize> From<[PresenceField; N]> for PresenceFields {
    fn from(fields: [PresenceField; N]) -> Self {
        fields.into_iter().collect()
    }
}

impl<const N: usize> PartialEq<[PresenceField; N]> for PresenceFields {
    fn eq(&self, fields: &[PresenceField; N]) -> bool {
        *self == Self::from(*fields)
    }
}

impl fmt::Debug for PresenceFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The difference between two observations of one user: which fields changed, and their earlier values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The fields that differ.
    pub changed: PresenceFields,
    /// The earlier observation. Only its changed fields matter.
    pub previous: Presence,
    /// The difference of the fingerprints of all other fields
    /// ([`FingerprintSample::delta_to`](super::FingerprintSample::delta_to)); 0 when they are the same, or unknown.
    pub other_fields_delta: u32,
}

impl Change {
    /// Compares the presence fields of two observations of the same user.
    ///
    /// A field that the later observation does not have (`None`) is not a change: events leave out `invisible`. The
    /// exception is `status`: it is removed by being absent from a complete user object. Callers with a partial object
    /// use [`Presence::merged`] first.
    ///
    /// `last_active` is compared as an instant and never moves back: the same instant with other digits is not a change,
    /// and neither is an older copy of it.
    pub fn between(before: &Presence, after: &Presence) -> Self {
        let mut changed = PresenceFields::NONE;
        if after.online.is_some() && before.online != after.online {
            changed.insert(PresenceField::Online);
        }
        if after.invisible.is_some() && before.invisible != after.invisible {
            changed.insert(PresenceField::Invisible);
        }
        if before.status != after.status {
            changed.insert(PresenceField::Status);
        }
        if is_newer(after.last_active.as_deref(), before.last_active.as_deref()) {
            changed.insert(PresenceField::LastActive);
        }
        Self {
            changed,
            previous: before.clone(),
            other_fields_delta: 0,
        }
    }

    /// The change of a user who does not exist any more: nothing of `before` is true any more.
    pub fn to_unknown(before: Presence) -> Self {
        let is_known = |field: &PresenceField| match field {
            PresenceField::Online => before.online.is_some(),
            PresenceField::Invisible => before.invisible.is_some(),
            PresenceField::Status => before.status.is_some(),
            PresenceField::LastActive => before.last_active.is_some(),
        };
        Self {
            changed: PresenceField::ALL.into_iter().filter(is_known).collect(),
            previous: before,
            other_fields_delta: 0,
        }
    }

    /// Combines this change and a later one: from the state before the first to the state `after` the second. A field
    /// that has its first value again is not changed.
    #[must_use]
    pub fn followed_by(&self, later: &Self, after: &Presence) -> Self {
        let mut both = Self {
            other_fields_delta: self
                .other_fields_delta
                .wrapping_add(later.other_fields_delta),
            ..Self::default()
        };
        for field in PresenceField::ALL {
            let first = self.changed.contains(field);
            let second = later.changed.contains(field);
            if !first && !second {
                continue;
            }
            let earliest = if first {
                &self.previous
            } else {
                &later.previous
            };
            // If the later change did not touch the field, it has the value that the first one gave it.
            if second && earliest.agrees(after, field) {
                continue;
            }
            both.changed.insert(field);
            both.previous.copy(earliest, field);
        }
        both
    }

    /// The presence before this change, given the presence `after` it.
    pub fn revert(&self, after: &Presence) -> Presence {
        let mut before = after.clone();
        for field in self.changed.iter() {
            before.copy(&self.previous, field);
        }
        before
    }

    /// Whether nothing changed.
    pub const fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.other_fields_delta == 0
    }
}

impl Presence {
    fn agrees(&self, other: &Self, field: PresenceField) -> bool {
        match field {
            PresenceField::Online => self.online == other.online,
            PresenceField::Invisible => self.invisible == other.invisible,
            PresenceField::Status => self.status == other.status,
            PresenceField::LastActive => {
                let (a, b) = (self.last_active.as_deref(), other.last_active.as_deref());
                !is_newer(a, b) && !is_newer(b, a)
            }
        }
    }

    fn copy(&mut self, other: &Self, field: PresenceField) {
        match field {
            PresenceField::Online => self.online = other.online,
            PresenceField::Invisible => self.invisible = other.invisible,
            PresenceField::Status => self.status.clone_from(&other.status),
            PresenceField::LastActive => self.last_active.clone_from(&other.last_active),
        }
    }

    /// This observation, completed by an earlier one: `online` and `invisible` where this one has none, and
    /// `last_active` unless this one is newer.
    #[must_use]
    pub fn merged(mut self, earlier: &Self) -> Self {
        self.online = self.online.or(earlier.online);
        self.invisible = self.invisible.or(earlier.invisible);
        if !is_newer(self.last_active.as_deref(), earlier.last_active.as_deref()) {
            self.last_active.clone_from(&earlier.last_active);
        }
        self
    }
}

/// Whether a `last_active` is new: it exists, and the known one is neither the same instant nor a later one.
fn is_newer(last_active: Option<&str>, known: Option<&str>) -> bool {
    last_active.is_some_and(|time| {
        known.is_none_or(|known| Timestamp::parse(time).is_newer_than(&Timestamp::parse(known)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_changes_combine_into_one() {
        let at = |online: bool, status: Option<&str>| Presence {
            online: Some(online),
            status: status.map(str::to_owned),
            ..Presence::default()
        };
        let states = [
            at(true, None),
            at(false, None),
            at(false, Some("x")),
            at(true, Some("x")),
        ];
        for a in &states {
            for b in &states {
                for c in &states {
                    let both = Change::between(a, b).followed_by(&Change::between(b, c), c);
                    let direct = Change::between(a, c);
                    assert_eq!(both.changed, direct.changed, "{a:?} {b:?} {c:?}");
                    assert_eq!(both.other_fields_delta, 0);
                    if both.changed.contains(PresenceField::Status) {
                        assert_eq!(both.previous.status, a.status);
                    }
                }
            }
        }
    }

    #[test]
    fn other_fields_that_have_their_first_values_again_are_not_changed() {
        let changed_by = |delta| Change {
            other_fields_delta: delta,
            ..Change::default()
        };
        let state = Presence::default();
        let there = changed_by(7);
        let further = there.followed_by(&changed_by(1), &state);
        assert!(!there.is_empty() && !further.is_empty());
        let back = further.followed_by(&changed_by(8_u32.wrapping_neg()), &state);
        assert!(back.is_empty());
    }

    #[test]
    fn an_absent_field_is_not_a_change_but_a_removed_status_is() {
        let before = Presence {
            online: Some(true),
            invisible: Some(false),
            status: Some("at lunch".into()),
            last_active: Some("2026-01-01T00:00:00Z".into()),
        };
        let after = Presence {
            online: Some(false),
            ..Presence::default()
        };
        let change = Change::between(&before, &after);
        assert_eq!(
            change.changed,
            [PresenceField::Online, PresenceField::Status]
        );
        assert_eq!(change.previous.status.as_deref(), Some("at lunch"));
        let merged = after.merged(&before);
        assert_eq!(merged.invisible, Some(false));
        assert_eq!(merged.last_active, before.last_active);
    }

    #[test]
    fn a_change_can_be_reverted() {
        let before = Presence {
            online: Some(false),
            status: Some("x".to_owned()),
            invisible: Some(true),
            last_active: None,
        };
        let after = Presence {
            online: Some(true),
            status: None,
            invisible: Some(true),
            last_active: Some("2026-01-05T10:00:00Z".to_owned()),
        };
        let change = Change::between(&before, &after);
        assert_eq!(change.revert(&after), before);
    }

    #[test]
    fn last_active_is_compared_as_an_instant_and_never_moves_back() {
        let at = |time: &str| Presence {
            last_active: Some(time.to_owned()),
            ..Presence::default()
        };
        let known = at("2026-01-05T10:00:00.123456Z");
        for (time, is_change) in [
            ("2026-01-05T10:00:00.123456Z", false),
            ("2026-01-05T10:00:00.123456000Z", false),
            ("2026-01-05T11:00:00.123456+01:00", false),
            ("2026-01-05T10:00:00.123456789Z", false),
            ("2026-01-05T10:00:00.123457Z", true),
            ("2026-01-05T09:59:59Z", false),
            ("2026-01-05T10:00:01Z", true),
        ] {
            let change = Change::between(&known, &at(time));
            assert_eq!(!change.is_empty(), is_change, "{time}");
            let merged = at(time).merged(&known);
            assert_eq!(merged == at(time) && merged != known, is_change, "{time}");
        }
        let first = Change::between(&Presence::default(), &known);
        assert_eq!(first.changed, [PresenceField::LastActive]);
    }

    #[test]
    fn a_user_who_is_gone_loses_every_known_field() {
        let before = Presence {
            online: Some(true),
            last_active: Some("2026-01-05T10:00:00Z".to_owned()),
            ..Presence::default()
        };
        let change = Change::to_unknown(before.clone());
        assert_eq!(
            change.changed,
            [PresenceField::Online, PresenceField::LastActive]
        );
        assert_eq!(change.revert(&Presence::default()), before);
        assert!(Change::to_unknown(Presence::default()).is_empty());
    }
}
