//! Columns: which fields of a row are shown, by default and with `--columns`.
//!
//! Users and channels can have custom fields, and `--columns` accepts their names. So an unknown name is a custom field,
//! unless it looks like a typo of a known column. A leading dot (`.nmae`) says that it is no typo.

use crate::escape;
use std::fmt::Write;

use crate::exit::{Code, Failure};
use crate::json::select;

/// The kind of a column's values. It decides how they are shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// An id. It is never shortened, because people copy it.
    Id,
    /// Online or offline, shown as a symbol and a word.
    Online,
    /// A boolean, shown as yes or no.
    Flag,
    /// A time, shown as the time that has passed since.
    Time,
    /// A list of users or members, shown as their ids and whether they are online.
    People,
}

/// Whether a column is shown without `--columns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DefaultVisibility {
    /// In every format.
    Always,
    /// In TSV and CSV, whose default columns contain everything that a script may test.
    HiddenInTables,
    /// In no format.
    Hidden,
}

/// A known column: the path of a field, and how the field is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    name: &'static str,
    kind: ColumnKind,
    visibility: DefaultVisibility,
}

impl Column {
    /// A column of the given kind, shown by default.
    pub const fn new(name: &'static str, kind: ColumnKind) -> Self {
        Self {
            name,
            kind,
            visibility: DefaultVisibility::Always,
        }
    }

    /// A column of text, shown by default.
    pub const fn plain(name: &'static str) -> Self {
        Self::new(name, ColumnKind::Text)
    }

    /// Shows the column by default in TSV and CSV only.
    #[must_use]
    pub const fn hidden_in_tables(mut self) -> Self {
        self.visibility = DefaultVisibility::HiddenInTables;
        self
    }

    /// Shows the column only if `--columns` names it.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.visibility = DefaultVisibility::Hidden;
        self
    }

    /// The path of the field, which is also the name of the column.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The columns of a user.
pub(super) const USER: &[Column] = &[
    Column::new("id", ColumnKind::Id),
    Column::plain("name"),
    Column::new("online", ColumnKind::Online),
    Column::plain("status"),
    Column::new("last_active", ColumnKind::Time),
    Column::new("invisible", ColumnKind::Flag).hidden_in_tables(),
    Column::plain("role").hidden(),
    Column::plain("teams").hidden(),
    Column::plain("language").hidden(),
    Column::plain("image").hidden(),
    Column::new("banned", ColumnKind::Flag).hidden(),
    Column::new("created_at", ColumnKind::Time).hidden(),
    Column::new("updated_at", ColumnKind::Time).hidden(),
    Column::new("deactivated_at", ColumnKind::Time).hidden(),
    Column::new("deleted_at", ColumnKind::Time).hidden(),
];

/// The columns of a channel.
pub(super) const CHANNEL: &[Column] = &[
    Column::new("cid", ColumnKind::Id),
    Column::plain("name"),
    Column::plain("member_count"),
    Column::plain("watcher_count").hidden_in_tables(),
    Column::new("last_message_at", ColumnKind::Time),
    Column::new("created_at", ColumnKind::Time),
    Column::plain("created_by.id").hidden_in_tables(),
    Column::plain("type").hidden(),
    Column::plain("id").hidden(),
    Column::plain("team").hidden(),
    Column::new("frozen", ColumnKind::Flag).hidden(),
    Column::new("disabled", ColumnKind::Flag).hidden(),
    Column::new("updated_at", ColumnKind::Time).hidden(),
    Column::new("members", ColumnKind::People).hidden(),
    Column::new("watchers", ColumnKind::People).hidden(),
];

/// The columns of a stream's records.
pub(super) const RECORD: &[Column] = &[
    Column::plain("seq"),
    Column::new("received_at", ColumnKind::Time),
    Column::plain("type"),
    Column::new("user.id", ColumnKind::Id),
    Column::new("user.online", ColumnKind::Online),
    Column::plain("user.status"),
    Column::new("user.last_active", ColumnKind::Time).hidden_in_tables(),
    Column::new("user.invisible", ColumnKind::Flag).hidden_in_tables(),
    Column::plain("changed").hidden_in_tables(),
    Column::plain("cid").hidden_in_tables(),
    Column::plain("source").hidden_in_tables(),
    Column::plain("user.name").hidden(),
    Column::plain("user.role").hidden(),
    Column::plain("previous").hidden(),
    Column::new("previous.online", ColumnKind::Online).hidden(),
    Column::plain("previous.status").hidden(),
    Column::new("previous.last_active", ColumnKind::Time).hidden(),
    Column::new("previous.invisible", ColumnKind::Flag).hidden(),
    Column::new("created_at", ColumnKind::Time).hidden(),
    Column::plain("watcher_count").hidden(),
    Column::plain("user").hidden(),
    Column::plain("member").hidden(),
    Column::plain("channel").hidden(),
    Column::new("online", ColumnKind::Flag).hidden(),
    Column::plain("reason").hidden(),
    Column::plain("attempt").hidden(),
    Column::new("from", ColumnKind::Time).hidden(),
    Column::new("to", ColumnKind::Time).hidden(),
    Column::plain("repaired").hidden(),
    Column::plain("note").hidden(),
    Column::plain("requested").hidden(),
    Column::plain("subscribed").hidden(),
    Column::plain("missing").hidden(),
    Column::plain("events").hidden(),
    Column::plain("gaps").hidden(),
    Column::plain("reconnects").hidden(),
    Column::plain("exit_code").hidden(),
];

/// A column selected for this run, known or custom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedColumn {
    pub(super) name: String,
    pub(super) path: Vec<String>,
    pub(super) kind: ColumnKind,
    /// Whether it may be a custom field or a typing error.
    pub(super) is_guess: bool,
}

impl SelectedColumn {
    pub(super) fn new(name: &str, kind: ColumnKind) -> Self {
        Self {
            name: name.to_owned(),
            path: name.split('.').map(str::to_owned).collect(),
            kind,
            is_guess: false,
        }
    }

    /// The value of this column in a row, as JSON text; `null` if the row has none.
    pub(super) fn value<'j>(&self, json: &'j str) -> &'j str {
        select::at(json, &self.path).unwrap_or("null")
    }
}

/// The columns selected for this run, in order.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) columns: Vec<SelectedColumn>,
    /// Whether `--columns` names them. Then JSON output contains only these fields, too.
    pub(super) chosen: bool,
}

impl Selection {
    /// The default columns, of tables or of TSV and CSV. `also` are columns to add.
    pub(super) fn default_of(offered: &[Column], table: bool, also: &[&str]) -> Self {
        let columns = offered
            .iter()
            .filter(|column| match column.visibility {
                DefaultVisibility::Always => true,
                DefaultVisibility::HiddenInTables => !table || also.contains(&column.name),
                DefaultVisibility::Hidden => also.contains(&column.name),
            })
            .map(|column| SelectedColumn::new(column.name, column.kind))
            .collect();
        Self {
            columns,
            chosen: false,
        }
    }

    /// The columns that `--columns` names. `open` says whether rows can have custom fields.
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

    /// The columns that no known field has, which may be typing errors.
    pub(super) fn guesses(&self) -> Vec<SelectedColumn> {
        let guesses = self.columns.iter().filter(|column| column.is_guess);
        guesses.cloned().collect()
    }

    /// The names of the columns, for a header.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Appends a row reduced to the selected fields. Nested fields stay nested.
    pub(super) fn project(&self, json: &str, out: &mut Vec<u8>) {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| (column.path.as_slice(), column.value(json)))
            .collect();
        nest(&columns, out);
    }
}

/// Appends an object made of paths and values. Paths that start with the same key share one nested object.
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
        // If both an object and one of its fields are selected, the whole object is written.
        match below.iter().find(|(path, _)| path.is_empty()) {
            Some((_, whole)) => out.extend_from_slice(whole.as_bytes()),
            None if rest.is_empty() => out.extend_from_slice(value.as_bytes()),
            None => nest(&below, out),
        }
    }
    out.push(b'}');
}

fn resolve(name: &str, offered: &[Column], open: bool) -> Result<SelectedColumn, Failure> {
    if let Some(column) = offered.iter().find(|column| column.name == name) {
        return Ok(SelectedColumn::new(name, column.kind));
    }
    let escaped = name.strip_prefix('.').filter(|rest| !rest.is_empty());
    if let Some(escaped) = escaped
        && (open || is_below(escaped, offered))
    {
        return Ok(SelectedColumn::new(escaped, kind_of(escaped, offered)));
    }
    let nearest = nearest(name, offered);
    let is_typo = nearest.is_some_and(|near| {
        let distance = strsim::osa_distance(name, near);
        distance <= if near.len() > 5 { 2 } else { 1 }
    });
    let well_formed = !name.is_empty() && name.split('.').all(|step| !step.is_empty());
    if well_formed && !is_typo && (open || is_below(name, offered)) {
        return Ok(SelectedColumn {
            is_guess: !is_below(name, offered),
            ..SelectedColumn::new(name, kind_of(name, offered))
        });
    }
    let mut message = format!("there is no column `{}`", escape::escape(name));
    if let Some(near) = nearest {
        write!(message, "; the nearest is `{near}`").expect("writing to a String does not fail");
    }
    let mut hint = "see what there is: --columns list".to_owned();
    if well_formed && is_typo && open {
        let name = escape::escape(name);
        write!(hint, "; for a custom field of that name: --columns .{name}")
            .expect("writing to a String does not fail");
    }
    Err(Failure::new(Code::Usage, message).hinted(hint))
}

/// Whether a path is a known column or a field inside one.
fn is_below(name: &str, offered: &[Column]) -> bool {
    offered.iter().any(|column| {
        name.strip_prefix(column.name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn kind_of(name: &str, offered: &[Column]) -> ColumnKind {
    offered
        .iter()
        .find(|column| column.name == name)
        .map_or(ColumnKind::Text, |column| column.kind)
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
