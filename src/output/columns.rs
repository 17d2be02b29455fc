//! Which fields are shown: what a kind of row offers, and what `--columns` makes of it.
//!
//! The service's objects are open: applications add fields of their own, and a column may name them. So a name that is
//! not on the list is taken for such a field, unless it looks like a slip of the finger for one that is; a leading dot
//! (`.nmae`) says that it is meant. Nothing here knows how a cell looks.

use crate::text;
use std::fmt::Write;

use crate::exit::{Code, Failure};
use crate::json::select;

/// How a column's values are shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As text.
    Text,
    /// As text that is never shortened, because people copy it.
    Id,
    /// As a dot and a word.
    Online,
    /// As yes or no.
    Flag,
    /// As the time that has passed.
    Time,
    /// A list of users or members, as their ids and whether they are online.
    People,
}

/// When a column is shown without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    /// In TSV and CSV, whose default columns hold everything a script branches on.
    ToMachines,
    OnRequest,
}

/// A column that a kind of row offers: a field, named by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    name: &'static str,
    kind: Kind,
    shown: Shown,
}

impl Column {
    /// A column of a kind, always shown.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            shown: Shown::Always,
        }
    }

    /// A column of text, always shown.
    pub const fn plain(name: &'static str) -> Self {
        Self::new(name, Kind::Text)
    }

    /// The same, shown in TSV and CSV but in tables only on request.
    #[must_use]
    pub const fn to_machines(mut self) -> Self {
        self.shown = Shown::ToMachines;
        self
    }

    /// The same, shown only on request.
    #[must_use]
    pub const fn on_request(mut self) -> Self {
        self.shown = Shown::OnRequest;
        self
    }

    /// The field's path.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// What a user offers.
pub(super) const USER: &[Column] = &[
    Column::new("id", Kind::Id),
    Column::plain("name"),
    Column::new("online", Kind::Online),
    Column::plain("status"),
    Column::new("last_active", Kind::Time),
    Column::new("invisible", Kind::Flag).to_machines(),
    Column::plain("role").on_request(),
    Column::plain("teams").on_request(),
    Column::plain("language").on_request(),
    Column::plain("image").on_request(),
    Column::new("banned", Kind::Flag).on_request(),
    Column::new("created_at", Kind::Time).on_request(),
    Column::new("updated_at", Kind::Time).on_request(),
    Column::new("deactivated_at", Kind::Time).on_request(),
    Column::new("deleted_at", Kind::Time).on_request(),
];

/// What a channel offers.
pub(super) const CHANNEL: &[Column] = &[
    Column::new("cid", Kind::Id),
    Column::plain("name"),
    Column::plain("member_count"),
    Column::plain("watcher_count").to_machines(),
    Column::new("last_message_at", Kind::Time),
    Column::new("created_at", Kind::Time),
    Column::plain("created_by.id").to_machines(),
    Column::plain("type").on_request(),
    Column::plain("id").on_request(),
    Column::plain("team").on_request(),
    Column::new("frozen", Kind::Flag).on_request(),
    Column::new("disabled", Kind::Flag).on_request(),
    Column::new("updated_at", Kind::Time).on_request(),
    Column::new("members", Kind::People).on_request(),
    Column::new("watchers", Kind::People).on_request(),
];

/// What a stream's records offer.
pub(super) const RECORD: &[Column] = &[
    Column::plain("seq"),
    Column::new("received_at", Kind::Time),
    Column::plain("type"),
    Column::new("user.id", Kind::Id),
    Column::new("user.online", Kind::Online),
    Column::plain("user.status"),
    Column::new("user.last_active", Kind::Time).to_machines(),
    Column::new("user.invisible", Kind::Flag).to_machines(),
    Column::plain("changed").to_machines(),
    Column::plain("cid").to_machines(),
    Column::plain("source").to_machines(),
    Column::plain("user.name").on_request(),
    Column::plain("user.role").on_request(),
    Column::plain("previous").on_request(),
    Column::new("previous.online", Kind::Online).on_request(),
    Column::plain("previous.status").on_request(),
    Column::new("previous.last_active", Kind::Time).on_request(),
    Column::new("previous.invisible", Kind::Flag).on_request(),
    Column::new("created_at", Kind::Time).on_request(),
    Column::plain("watcher_count").on_request(),
    Column::plain("user").on_request(),
    Column::plain("member").on_request(),
    Column::plain("channel").on_request(),
    Column::new("online", Kind::Flag).on_request(),
    Column::plain("reason").on_request(),
    Column::plain("attempt").on_request(),
    Column::new("from", Kind::Time).on_request(),
    Column::new("to", Kind::Time).on_request(),
    Column::plain("repaired").on_request(),
    Column::plain("note").on_request(),
    Column::plain("requested").on_request(),
    Column::plain("subscribed").on_request(),
    Column::plain("missing").on_request(),
    Column::plain("events").on_request(),
    Column::plain("gaps").on_request(),
    Column::plain("reconnects").on_request(),
    Column::plain("exit_code").on_request(),
];

/// One column of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) name: String,
    pub(super) path: Vec<String>,
    pub(super) kind: Kind,
}

impl Picked {
    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            path: name.split('.').map(str::to_owned).collect(),
            kind,
        }
    }

    /// The value in a row's JSON text; `null` where there is none.
    pub(super) fn value<'j>(&self, json: &'j str) -> &'j str {
        select::at(json, &self.path).unwrap_or("null")
    }
}

/// The columns of a run, in order.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) columns: Vec<Picked>,
    /// Whether the user named them; then JSON holds nothing else either.
    pub(super) chosen: bool,
}

impl Selection {
    /// What is shown when nobody asks: in tables, or in TSV and CSV.
    pub(super) fn default_of(offered: &[Column], table: bool, also: &[&str]) -> Self {
        let columns = offered
            .iter()
            .filter(|column| match column.shown {
                Shown::Always => true,
                Shown::ToMachines => !table || also.contains(&column.name),
                Shown::OnRequest => also.contains(&column.name),
            })
            .map(|column| Picked::new(column.name, column.kind))
            .collect();
        Self {
            columns,
            chosen: false,
        }
    }

    /// What `--columns` names. `open` says whether rows have fields that nobody could list.
    pub(super) fn named(names: &[String], offered: &[Column], open: bool) -> Result<Self, Failure> {
        let columns = names
            .iter()
            .map(|name| resolve(name.trim(), offered, open))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            columns,
            chosen: true,
        })
    }

    /// The names, for a header.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Writes a row with the selected fields alone, each at its old place in the nesting.
    pub(super) fn project(&self, json: &str, out: &mut Vec<u8>) {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| (column.path.as_slice(), column.value(json)))
            .collect();
        nest(&columns, out);
    }
}

/// Writes paths with values as an object, grouping by the first step in the order of its first appearance.
fn nest(columns: &[(&[String], &str)], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut done: Vec<&str> = Vec::new();
    for (path, value) in columns {
        let Some((first, rest)) = path.split_first() else {
            continue;
        };
        if done.contains(&first.as_str()) {
            continue;
        }
        if !done.is_empty() {
            out.push(b',');
        }
        done.push(first);
        serde_json::to_writer(&mut *out, first).expect("writing text to memory does not fail");
        out.push(b':');
        let below: Vec<_> = columns
            .iter()
            .filter(|(path, _)| path.first() == Some(first))
            .map(|(path, value)| (&path[1..], *value))
            .collect();
        // Who asks for an object and for a field of it gets the object.
        match below.iter().find(|(path, _)| path.is_empty()) {
            Some((_, whole)) => out.extend_from_slice(whole.as_bytes()),
            None if rest.is_empty() => out.extend_from_slice(value.as_bytes()),
            None => nest(&below, out),
        }
    }
    out.push(b'}');
}

fn resolve(name: &str, offered: &[Column], open: bool) -> Result<Picked, Failure> {
    if let Some(column) = offered.iter().find(|column| column.name == name) {
        return Ok(Picked::new(name, column.kind));
    }
    let meant = name.strip_prefix('.').filter(|rest| !rest.is_empty());
    if let Some(meant) = meant
        && (open || is_below(meant, offered))
    {
        return Ok(Picked::new(meant, kind_of(meant, offered)));
    }
    let nearest = nearest(name, offered);
    let is_slip = nearest.is_some_and(|near| {
        let distance = strsim::osa_distance(name, near);
        distance <= if near.len() > 5 { 2 } else { 1 }
    });
    let well_formed = !name.is_empty() && name.split('.').all(|step| !step.is_empty());
    if well_formed && !is_slip && (open || is_below(name, offered)) {
        return Ok(Picked::new(name, kind_of(name, offered)));
    }
    let mut message = format!("there is no column `{}`", text::escape(name));
    if let Some(near) = nearest {
        write!(message, "; the nearest is `{near}`").expect("a String takes all it is given");
    }
    let mut hint = "see what there is: --columns list".to_owned();
    if well_formed && is_slip && open {
        let name = text::escape(name);
        write!(hint, "; for a custom field of that name: --columns .{name}")
            .expect("a String takes all it is given");
    }
    Err(Failure::new(Code::Usage, message).hinted(hint))
}

/// Whether a path leads into a column that is offered.
fn is_below(name: &str, offered: &[Column]) -> bool {
    offered.iter().any(|column| {
        name.strip_prefix(column.name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn kind_of(name: &str, offered: &[Column]) -> Kind {
    offered
        .iter()
        .find(|column| column.name == name)
        .map_or(Kind::Text, |column| column.kind)
}

fn nearest(name: &str, offered: &[Column]) -> Option<&'static str> {
    offered
        .iter()
        .map(|column| (strsim::osa_distance(name, column.name), column.name))
        .min()
        .map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Result<Selection, Failure> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Selection::named(&names, USER, true)
    }

    #[test]
    fn defaults_differ_between_tables_and_machines() {
        let table = Selection::default_of(USER, true, &[]);
        assert_eq!(
            table.names().collect::<Vec<_>>(),
            ["id", "name", "online", "status", "last_active"]
        );
        let machine = Selection::default_of(USER, false, &[]);
        assert_eq!(machine.names().last(), Some("invisible"));
        let presence = Selection::default_of(USER, true, &["invisible"]);
        assert_eq!(presence.names().last(), Some("invisible"));
    }

    #[test]
    fn custom_fields_are_columns_and_slips_are_not() {
        let selection = named(&["id", "color", "privacy_settings.read_receipts.enabled"]).unwrap();
        assert_eq!(selection.columns[2].path.len(), 3);
        let slip = named(&["onlin"]).unwrap_err();
        assert_eq!(slip.code, Code::Usage);
        assert_eq!(
            slip.message,
            "there is no column `onlin`; the nearest is `online`"
        );
        assert_eq!(
            slip.hint.unwrap(),
            "see what there is: --columns list; for a custom field of that name: --columns .onlin"
        );
        assert_eq!(named(&[".onlin"]).unwrap().columns[0].name, "onlin");
        for broken in ["", ".", "a..b", "a."] {
            assert!(named(&[broken]).is_err(), "{broken}");
        }
    }

    #[test]
    fn closed_rows_take_no_other_names() {
        let offered = [Column::plain("url"), Column::plain("user")];
        let names = |name: &str| Selection::named(&[name.to_owned()], &offered, false);
        assert!(names("url").is_ok());
        assert!(names("user.id").is_ok());
        assert_eq!(
            names("urk").unwrap_err().message,
            "there is no column `urk`; the nearest is `url`"
        );
    }

    #[test]
    fn projection_keeps_the_nesting() {
        let project = |names: &[&str], json: &str| {
            let mut out = Vec::new();
            named(names).unwrap().project(json, &mut out);
            String::from_utf8(out).unwrap()
        };
        let json = r#"{"id":"a","x":{"y":1.50,"z":[2]},"online":true}"#;
        assert_eq!(
            project(&["online", "x.y", "id", "x.z.0", "gone.deep"], json),
            r#"{"online":true,"x":{"y":1.50,"z":{"0":2}},"id":"a","gone":{"deep":null}}"#
        );
        assert_eq!(project(&["x.y", "x"], json), r#"{"x":{"y":1.50,"z":[2]}}"#);
    }
}
