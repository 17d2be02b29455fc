//! `api METHOD PATH`: any call to the service, signed, retried and told like every other.
//!
//! Knows how the service takes its arguments — queries as a `payload` in the address, everything else as a body — and
//! nothing of what any call means.

mod pagination;
mod request_fields;

use std::fs;
use std::io::{self, Read};

use anyhow::Context;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::api::{Client, RawResponse};
use crate::app::App;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::exit::{Code, Failure};
use pagination::Pagination;
use request_fields::Field;

/// The paths whose GET takes one parameter, `payload`, that holds a JSON object.
const PAYLOAD_PATHS: [&str; 5] = [
    "users",
    "channels",
    "members",
    "search",
    "query_banned_users",
];

/// Flags of `api`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With GET and DELETE, fields become parameters of the address; the queries that take a `payload` (users, channels,
members, search, query_banned_users) get them inside it. With other methods they are the body.
--dry-run shows the request instead of sending it, unless it is a GET.

Examples:
  presencectl api GET app
  presencectl api GET users -f 'filter_conditions[role]=admin' -F limit=5 --jq '.users[].id'
  presencectl api PATCH users --input patch.json
  presencectl api POST channels/messaging/fun/event -f 'event[type]=deploy' --as john
  presencectl api GET users --paginate --jq '.users[].id'")]
pub struct ApiArgs {
    /// GET, POST, PUT, PATCH or DELETE
    #[arg(value_parser = parse_method)]
    pub method: &'static str,

    /// The path, such as users or channels/messaging/fun/query; it may end with ?name=value
    pub path: String,

    /// Add a field: JSON where it is JSON, a file's content as @FILE, else a text; `NAME[KEY]` and `NAME[]` reach inside
    #[arg(short = 'F', long = "field", value_name = "NAME=VALUE", value_parser = request_fields::parse_typed)]
    typed: Vec<Field>,

    /// Add a field that is a text, whatever it looks like
    #[arg(short = 'f', long = "raw-field", value_name = "NAME=TEXT", value_parser = request_fields::parse_text)]
    texts: Vec<Field>,

    /// Take the fields from this file, or - for standard input, a JSON object
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub input: Option<String>,

    /// Ask for page after page, by `next` where the answer has one, else by offset
    #[arg(long)]
    pub paginate: bool,
}

fn parse_method(text: &str) -> Result<&'static str, String> {
    ["GET", "POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|method| method.eq_ignore_ascii_case(text))
        .ok_or_else(|| "the service knows GET, POST, PUT, PATCH and DELETE".to_owned())
}

/// Calls and prints the answer.
///
/// # Errors
///
/// The input is no JSON object, or the service refuses.
pub async fn run(app: &App, args: &ApiArgs) -> anyhow::Result<Code> {
    let mut request = Request::new(args)?;
    if request.method != "GET" {
        app.confirm_change("make this call")?;
        if app.is_dry_run() {
            let mut rows = dry_run::rows(app)?.one();
            rows.push(&request.planned())?;
            rows.finish()?;
            return Ok(Code::Ok);
        }
    }
    let mut rows = app.output().documents(args.paginate)?;
    let client = app.client().await?;
    let mut pages = Pagination::default();
    loop {
        let answer = request.send(&client).await?;
        let page = Answer::read(&answer)?;
        rows.push(&page.text)?;
        rows.flush()?;
        if !args.paginate || !pages.turn(&page.fields, &mut request.fields, &request.path) {
            break;
        }
    }
    rows.finish()?;
    Ok(Code::Ok)
}

/// A request as it will be sent, and sent again for the next page.
struct Request {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    fields: Map<String, Value>,
}

impl Request {
    fn new(args: &ApiArgs) -> anyhow::Result<Self> {
        let mut fields = match &args.input {
            Some(file) => read_object(file)?,
            None => Map::new(),
        };
        for field in args.typed.iter().chain(&args.texts) {
            field
                .clone()
                .put(&mut fields)
                .map_err(|why| Failure::new(Code::Usage, why))?;
        }
        let (path, query) = args.path.split_once('?').unwrap_or((&args.path, ""));
        Ok(Self {
            method: args.method,
            path: path.trim_matches('/').to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            fields,
        })
    }

    /// Whether fields travel in the address rather than in a body.
    fn is_in_address(&self) -> bool {
        matches!(self.method, "GET" | "DELETE")
    }

    fn planned(&self) -> PlannedRequest {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        if self.is_in_address() {
            query.extend_pairs(self.parameters());
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        PlannedRequest {
            method: self.method,
            path: format!("/{}{mark}{query}", self.path),
            body: if self.is_in_address() {
                Value::Null
            } else {
                Value::Object(self.fields.clone())
            },
        }
    }

    async fn send(&self, client: &Client) -> anyhow::Result<RawResponse> {
        let in_address = self.is_in_address();
        let mut query = self.query.clone();
        if in_address {
            query.extend(self.parameters());
        }
        let query: Vec<(&str, &str)> = query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        // Where there is nothing to say the service wants an empty object.
        let body = (!in_address).then(|| Value::Object(self.fields.clone()));
        let answer = client
            .raw(self.method, &self.path, &query, body.as_ref())
            .await?;
        match answer.error() {
            Some(error) => Err(error.into()),
            None => Ok(answer),
        }
    }

    fn parameters(&self) -> Vec<(String, String)> {
        if self.method == "GET"
            && PAYLOAD_PATHS.contains(&self.path.as_str())
            && !self.fields.contains_key("payload")
        {
            let payload = Value::Object(self.fields.clone()).to_string();
            return vec![("payload".to_owned(), payload)];
        }
        self.fields
            .iter()
            .map(|(name, value)| {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                (name.clone(), text)
            })
            .collect()
    }
}

fn read_object(file: &str) -> anyhow::Result<Map<String, Value>> {
    let text = if file == "-" {
        let mut text = String::new();
        io::stdin()
            .lock()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        text
    } else {
        fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            Code::Usage,
            format!("the input {file} is not a JSON object: {error}"),
        )
        .into()
    })
}

/// An answer: its text as the service sent it, and its fields to look into.
struct Answer {
    text: Box<RawValue>,
    fields: Map<String, Value>,
}

impl Answer {
    fn read(answer: &RawResponse) -> anyhow::Result<Self> {
        let body: &[u8] = if answer.body.trim_ascii().is_empty() {
            b"{}"
        } else {
            &answer.body
        };
        let unreadable = || {
            Failure::new(
                Code::Refused,
                format!("the answer (HTTP {}) is not a JSON object", answer.status),
            )
            .hinted("check the path; a proxy may have answered")
        };
        let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| unreadable())?;
        // One answer is one line, so an answer on several lines is written anew; others keep every digit.
        let text = if body.contains(&b'\n') || body.contains(&b'\r') {
            serde_json::to_string(&fields)?
        } else {
            String::from_utf8(body.to_vec()).map_err(|_| unreadable())?
        };
        Ok(Self {
            text: RawValue::from_string(text)?,
            fields,
        })
    }
}
