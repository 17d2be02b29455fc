//! How to reach a mock server, and the forms in which `mock start` and `mock env` print that.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::exit::{Code, Failure};

/// What to print about a server that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadyFormat {
    /// One JSON record, without the secret.
    Json,
    /// Shell assignments for `eval`.
    Env,
    /// Lines for `$GITHUB_ENV`.
    Github,
    /// A `.env` file.
    Dotenv,
}

/// How to reach a mock server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MockEndpoint {
    pub(super) url: String,
    pub(super) api_key: String,
    pub(super) api_secret: String,
    /// Where the secret comes from, for people.
    pub(super) secret_from: String,
    pub(super) pid: u32,
    /// What the control API asks for, if the server is open to other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) control_token: Option<String>,
    /// The file with the certificate that clients must trust, if the server uses TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<PathBuf>,
    /// The address of the console, with the control token if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) console: Option<String>,
}

/// The variables by which programs find certificates to trust beside their own (Node), or instead of them: those that use
/// OpenSSL, Go and this program; Python's requests; and curl, where its own variable is set.
const CA_FILE_VARIABLES: [&str; 4] = [
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// The record that says that the server can be used. It has everything but the secret.
#[derive(Debug, Serialize)]
struct ReadyRecord<'a> {
    r#type: &'static str,
    url: &'a str,
    api_key: &'a str,
    secret_from: &'a str,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<&'a str>,
}

impl MockEndpoint {
    /// The variables by which every SDK, and this program, finds the server.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("STREAM_API_KEY", self.api_key.clone()),
            ("STREAM_API_SECRET", self.api_secret.clone()),
            ("STREAM_KEY", self.api_key.clone()),
            ("STREAM_SECRET", self.api_secret.clone()),
            ("STREAM_CHAT_URL", self.url.clone()),
            ("STREAM_BASE_URL", self.url.clone()),
            ("PRESENCECTL_BASE_URL", self.url.clone()),
        ];
        // The only address variable of the JavaScript client, which puts http:// before it.
        if let Some(host) = self.url.strip_prefix("http://") {
            variables.push(("STREAM_LOCAL_TEST_HOST", host.to_owned()));
        }
        if let Some(token) = &self.control_token {
            variables.push(("PRESENCECTL_MOCK_TOKEN", token.clone()));
        }
        if self.needs_allow_http() {
            variables.push(("PRESENCECTL_ALLOW_HTTP", "true".to_owned()));
        }
        if let Some(file) = &self.ca_file {
            let file = file.to_string_lossy();
            variables.extend(CA_FILE_VARIABLES.map(|name| (name, file.clone().into_owned())));
        }
        variables
    }

    /// Whether clients send credentials to the server only if they are allowed to use plain http.
    fn needs_allow_http(&self) -> bool {
        let is_loopback = Url::parse(&self.url).is_ok_and(|url| crate::api::is_loopback(&url));
        !is_loopback && self.url.starts_with("http://")
    }

    /// How to reach the server, for a program.
    ///
    /// # Errors
    ///
    /// A value does not fit into the format (exit code 2).
    pub(super) fn render(&self, format: ReadyFormat) -> anyhow::Result<String> {
        if format == ReadyFormat::Json {
            let ready = ReadyRecord {
                r#type: "mock.ready",
                url: &self.url,
                api_key: &self.api_key,
                secret_from: &self.secret_from,
                pid: self.pid,
                control_token: self.control_token.as_deref(),
                ca_file: self.ca_file.as_deref(),
                console: self.console.as_deref(),
            };
            return Ok(serde_json::to_string(&ready)? + "\n");
        }
        let mut text = String::new();
        for (name, value) in self.variables() {
            // The rest of the value would be read as variables of its own.
            if format == ReadyFormat::Github && value.contains(['\n', '\r']) {
                return Err(Failure::new(
                    Code::Usage,
                    format!("{name} has a line break, which --print github cannot print"),
                )
                .hinted("use a value of one line, or --print env")
                .into());
            }
            match format {
                ReadyFormat::Env => writeln!(text, "export {name}={}", quote(&value))?,
                ReadyFormat::Dotenv if !is_plain(&value) => {
                    writeln!(text, "{name}={}", quote(&value))?;
                }
                ReadyFormat::Dotenv | ReadyFormat::Github | ReadyFormat::Json => {
                    writeln!(text, "{name}={value}")?;
                }
            }
        }
        Ok(text)
    }

    /// Prints how to reach the server, for a program.
    ///
    /// # Errors
    ///
    /// A value does not fit into the format, or stdout cannot be written to.
    pub(super) fn print(&self, format: ReadyFormat) -> anyhow::Result<()> {
        Ok(print(&self.render(format)?)?)
    }

    /// How to reach the server, for a person.
    pub(super) fn render_for_people(&self) -> String {
        let (mut lines, mut variables, mut flag) = (String::new(), String::new(), "");
        let mut add = |name: &str, variable: &str, value: &str| {
            lines.extend(["  ", name, value, "\n"]);
            variables.extend([variable, "=", &quote(value), " "]);
        };
        if let Some(token) = &self.control_token {
            add("control token  ", "PRESENCECTL_MOCK_TOKEN", token);
        }
        if let Some(file) = &self.ca_file {
            add("CA file        ", "SSL_CERT_FILE", &file.to_string_lossy());
        }
        if let Some(url) = &self.console {
            lines.extend(["  console        ", url, "\n"]);
        }
        if self.needs_allow_http() {
            flag = " --allow-http";
        }
        format!(
            "\
Mock server ready at {url}
  API key        {api_key}
  API secret     from {secret_from}
{lines}
To use it in another shell: eval \"$({variables}presencectl mock env --base-url {url}{flag})\"
To stop it: Ctrl-C
",
            url = self.url,
            api_key = self.api_key,
            secret_from = self.secret_from,
        )
    }
}

/// The address of the console at a path of a server. The token is in the fragment, which browsers send to nobody.
pub(super) fn console_url(server: &str, path: &str, control_token: Option<&str>) -> String {
    let fragment = control_token.map_or_else(String::new, |token| {
        let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        format!("#token={encoded}")
    });
    format!("{server}{path}{fragment}")
}

/// Prints a text on stdout at once.
///
/// # Errors
///
/// stdout cannot be written to.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Quotes a value for a POSIX shell.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Whether a value means the same without quotes, so that readers of `.env` files that know none can read it.
fn is_plain(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@+,=[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{MockEndpoint, console_url, quote};

    #[test]
    fn the_hint_for_another_shell_has_what_the_server_asks_for() {
        let mut endpoint = MockEndpoint {
            url: "http://192.0.2.1:8080".to_owned(),
            api_key: "K".to_owned(),
            api_secret: "hush".to_owned(),
            secret_from: "the file F".to_owned(),
            pid: 1,
            control_token: Some("it's".to_owned()),
            ca_file: None,
            console: Some(console_url(
                "http://192.0.2.1:8080",
                "/_mock/ui",
                Some("it's"),
            )),
        };
        insta::assert_snapshot!(endpoint.render_for_people(), @r#"
        Mock server ready at http://192.0.2.1:8080
          API key        K
          API secret     from the file F
          control token  it's
          console        http://192.0.2.1:8080/_mock/ui#token=it%27s

        To use it in another shell: eval "$(PRESENCECTL_MOCK_TOKEN='it'\''s' presencectl mock env --base-url http://192.0.2.1:8080 --allow-http)"
        To stop it: Ctrl-C
        "#);
        endpoint.url = "https://127.0.0.1:8080".to_owned();
        endpoint.control_token = None;
        endpoint.console = None;
        endpoint.ca_file = Some("/tmp/ca.pem".into());
        insta::assert_snapshot!(endpoint.render_for_people(), @r#"
        Mock server ready at https://127.0.0.1:8080
          API key        K
          API secret     from the file F
          CA file        /tmp/ca.pem

        To use it in another shell: eval "$(SSL_CERT_FILE='/tmp/ca.pem' presencectl mock env --base-url https://127.0.0.1:8080)"
        To stop it: Ctrl-C
        "#);
        endpoint.url = "http://127.0.0.1:8080".to_owned();
        endpoint.ca_file = None;
        insta::assert_snapshot!(endpoint.render_for_people(), @r#"
        Mock server ready at http://127.0.0.1:8080
          API key        K
          API secret     from the file F

        To use it in another shell: eval "$(presencectl mock env --base-url http://127.0.0.1:8080)"
        To stop it: Ctrl-C
        "#);
    }

    #[test]
    fn a_quote_in_a_value_does_not_end_it() {
        assert_eq!(quote("a'b"), r"'a'\''b'");
    }
}
