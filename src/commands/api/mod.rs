//! `api METHOD PATH`: sends any request to the service, signed, retried and reported like all other calls.
//!
//! Fields become a body, or a `payload` parameter for the queries that take one.

mod byte_size;
mod pagination;
mod request_fields;

use std::fs;
use std::io::{self, Read};

use anyhow::Context;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::api::{ApiError, Request, Response};
use crate::commands::dry_run;
use crate::exit::{Code, Failure, HintedError};
use crate::settings::App;
use byte_size::ByteSize;
use pagination::Pagination;
use request_fields::Field;

/// The paths whose GET takes its fields as JSON in the query parameter `payload`.
const PAYLOAD_PATHS: [&str; 5] = [
    "users",
    "channels",
    "members",
    "search",
    "query_banned_users",
];

const NOT_FOUND_STATUS: u16 = 404;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With GET and DELETE, fields become query parameters. GET users, channels, members, search and query_banned_users
take them as one JSON object in the parameter `payload`. With other methods, fields are the body.
--dry-run prints the request instead of sending it, unless it is a GET.

Examples:
  presencectl api GET app
  presencectl api GET users -f 'filter_conditions[role]=admin' -F limit=5 --jq '.users[].id'
  presencectl api PATCH users --input patch.json
  presencectl api POST channels/messaging/fun/event -f 'event[type]=deploy' --as john
  presencectl api GET users --paginate --jq '.users[].id'")]
pub struct ApiArgs {
    /// HTTP method: GET, POST, PUT, PATCH or DELETE
    #[arg(value_parser = parse_method)]
    pub method: &'static str,

    /// Path, such as users or channels/messaging/fun/query; may end with ?name=value
    pub path: String,

    /// Add a field: JSON, @FILE for the content of a file, or text
    ///
    /// `NAME[KEY]=VALUE` sets a key of an object, `NAME[]=VALUE` adds to an array.
    #[arg(short = 'F', long = "field", value_name = "NAME=VALUE", value_parser = request_fields::parse_typed)]
    typed: Vec<Field>,

    /// Add a string field, even if it looks like JSON
    #[arg(short = 'f', long = "raw-field", value_name = "NAME=TEXT", value_parser = request_fields::parse_text)]
    texts: Vec<Field>,

    /// Read the fields from this file, a JSON object; - is stdin
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub input: Option<String>,

    /// Fetch all pages, by `next` or by offset
    #[arg(long)]
    pub paginate: bool,

    /// Read at most this much of a response, such as 512KiB or 1GiB [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_response: Option<ByteSize>,
}

fn parse_method(text: &str) -> Result<&'static str, String> {
    ["GET", "POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|method| method.eq_ignore_ascii_case(text))
        .ok_or_else(|| "expected GET, POST, PUT, PATCH or DELETE".to_owned())
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// The input is not a JSON object, or the service refuses.
pub async fn run(app: &App, args: &ApiArgs) -> anyhow::Result<Code> {
    let mut call = CustomCall::new(args)?;
    if call.method != "GET" {
        app.confirm_change("make this call")?;
        if app.is_dry_run() {
            dry_run::print_one(app, &call.request()?)?;
            return Ok(Code::Ok);
        }
    }
    let mut rows = app.output().documents(args.paginate)?;
    let client = app.client().await?;
    let client = match args.max_response {
        Some(ByteSize(bytes)) => client.with_response_limit(bytes),
        None => client,
    };
    let mut pages = Pagination::default();
    loop {
        let response = client
            .send(&call.request()?)
            .await
            .map_err(|error| explain(error, &call.path))?;
        let document = Document::read(&response)?;
        rows.push(&document.text)?;
        rows.flush()?;
        if !args.paginate || !pages.turn(&document.fields, &mut call.fields, &call.path) {
            break;
        }
    }
    rows.finish()?;
    Ok(Code::Ok)
}

/// A path that does not exist is a likely mistake here, and nowhere else.
fn explain(error: ApiError, path: &str) -> anyhow::Error {
    let status = match &error {
        ApiError::Refused(refusal) => refusal.status,
        ApiError::Unreadable { status, .. } => *status,
        _ => return error.into(),
    };
    if status != NOT_FOUND_STATUS {
        return error.into();
    }
    let hint = format!(
        "check the method and the path `/{path}`: such as GET users, or POST channels/messaging/ID/query"
    );
    HintedError::new(error, hint).into()
}

/// A request as typed. Its fields change from page to page.
struct CustomCall {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    fields: Map<String, Value>,
}

impl CustomCall {
    fn new(args: &ApiArgs) -> anyhow::Result<Self> {
        let mut fields = match &args.input {
            Some(file) => read_object(file)?,
            None => Map::new(),
        };
        for field in args.typed.iter().chain(&args.texts) {
            field
                .clone()
                .put(&mut fields)
                .map_err(|reason| Failure::new(Code::Usage, reason))?;
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

    fn request(&self) -> Result<Request, ApiError> {
        // With GET and DELETE the fields are query parameters. With other methods they are the body, which the service
        // requires even if it is empty.
        let has_body = !matches!(self.method, "GET" | "DELETE");
        let parameters = if has_body {
            Vec::new()
        } else {
            self.parameters()
        };
        let query: Vec<(&str, &str)> = self
            .query
            .iter()
            .chain(&parameters)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let body = has_body.then(|| Value::Object(self.fields.clone()));
        Request::custom(self.method, &self.path, &query, body.as_ref())
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

/// A response as a JSON document: its text as the service sent it, and its fields.
struct Document {
    text: Box<RawValue>,
    fields: Map<String, Value>,
}

impl Document {
    fn read(response: &Response) -> anyhow::Result<Self> {
        let body: &[u8] = if response.body.trim_ascii().is_empty() {
            b"{}"
        } else {
            &response.body
        };
        let unreadable = || {
            Failure::new(
                Code::Refused,
                format!(
                    "the response (HTTP {}) is not a JSON object",
                    response.status
                ),
            )
            .hinted("check the path; a proxy may have answered")
        };
        let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| unreadable())?;
        // A response is one line of output. One that spans several lines is serialised again; others are copied
        // exactly.
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
