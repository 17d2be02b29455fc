//! The proxy that calls and WebSockets go through, as the environment names it.
//!
//! The rules are here and not in the HTTP library, because a malformed proxy must be an error: the library ignores it,
//! and calls would then go out directly.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::api::address::is_loopback;
use crate::exit::{Code, Failure};

/// The variables that name the proxy for https, in order.
const HTTPS_VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// The variables that name the proxy for http. Not `HTTP_PROXY`: in a CGI program, a client can set it.
const HTTP_VARIABLES: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];
/// The variables with the hosts that are reached directly.
const EXCEPTION_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];
/// The schemes of proxies that the HTTP library can use.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// A proxy.
#[derive(Clone)]
pub struct ProxyServer(Url);

impl std::fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.address())
    }
}

impl ProxyServer {
    /// The address as `scheme://host:port`, without user and password.
    pub fn address(&self) -> String {
        let port = self
            .0
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        let host = self.0.host_str().unwrap_or_default();
        format!("{}://{host}{port}", self.0.scheme())
    }

    /// The whole address, with user and password.
    pub(super) const fn url(&self) -> &Url {
        &self.0
    }

    /// The proxy for this address. `variable` reads a variable that has a value. Loopback is always reached directly.
    ///
    /// # Errors
    ///
    /// The variable's value is not a proxy, or the proxy cannot reach this address.
    pub fn for_address(
        address: &Url,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let first = |names: &[&'static str]| {
            let mut names = names.iter();
            names.find_map(|name| Some((*name, variable(name)?)))
        };
        let is_https = address.scheme() == "https";
        let found = if is_https {
            first(&HTTPS_VARIABLES)
        } else {
            first(&HTTP_VARIABLES)
        };
        let exceptions = first(&EXCEPTION_VARIABLES).map_or_else(String::new, |(_, list)| list);
        if is_loopback(address) || is_excepted(address, &exceptions) {
            return Ok(None);
        }
        let Some((name, value)) = found else {
            return Ok(system_proxy(address));
        };
        let proxy = Self::parse(&value).map_err(|why| {
            Failure::new(Code::Usage, format!("the variable {name} is not a proxy: {why}")).hinted(
                format!(
                    "write {name}=http://HOST:PORT (or https://, socks5://, socks5h://); to connect directly: unset {name}"
                ),
            )
        })?;
        if is_https && let Some(Host::Ipv6(ip)) = address.host() {
            return Err(Failure::new(
                Code::Usage,
                format!(
                    "https to the IPv6 address {ip} is not possible through the proxy of {name}"
                ),
            )
            .hinted(format!(
                "write a name instead of the address, or connect directly: NO_PROXY={ip}"
            )));
        }
        Ok(Some(proxy))
    }

    /// Reads `[SCHEME://][USER:PASSWORD@]HOST[:PORT]`. The reason of a failure never contains the value, which may have
    /// a password.
    fn parse(value: &str) -> Result<Self, String> {
        // URL parsing would skip the extra slashes and take what follows for the host.
        if value.starts_with('/') {
            return Err("it begins with a slash".to_owned());
        }
        let scheme = value
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let with_scheme = match &scheme {
            Some(_) => value.to_owned(),
            None => format!("http://{value}"),
        };
        if let Some(scheme) = scheme
            && !SCHEMES.contains(&scheme.as_str())
        {
            return Err(match scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
                true => format!("proxies of the kind `{scheme}` are not supported"),
                false => "it has no valid scheme".to_owned(),
            });
        }
        let url = Url::parse(&with_scheme).map_err(|error| error.to_string())?;
        if url.host_str().is_none_or(str::is_empty)
            || url.host_str().is_some_and(|host| host.contains(' '))
        {
            return Err("it has no host".to_owned());
        }
        Ok(Self(url))
    }
}

/// Whether an address is in a list of hosts that are reached directly: `*`, names with their subdomains, addresses and
/// CIDR blocks, each with an optional port.
fn is_excepted(address: &Url, list: &str) -> bool {
    list.split([',', ' ']).map(str::trim).any(|entry| {
        let (host, port) = split_port(entry);
        if host.is_empty() || port.is_some_and(|port| address.port_or_known_default() != Some(port))
        {
            return false;
        }
        if host == "*" {
            return true;
        }
        match address.host() {
            Some(Host::Domain(name)) => is_in_domain(name, &host),
            Some(Host::Ipv4(ip)) => is_in_block(ip.into(), &host),
            Some(Host::Ipv6(ip)) => is_in_block(IpAddr::V6(ip).to_canonical(), &host),
            None => false,
        }
    })
}

fn is_in_domain(name: &str, domain: &str) -> bool {
    let domain = domain
        .trim_start_matches("*.")
        .trim_matches('.')
        .to_ascii_lowercase();
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let before = name.strip_suffix(&domain);
    !domain.is_empty() && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn is_in_block(ip: IpAddr, block: &str) -> bool {
    match block.parse::<IpAddr>() {
        Ok(one) => one.to_canonical() == ip,
        Err(_) => block
            .parse::<IpNet>()
            .is_ok_and(|block| block.contains(&ip)),
    }
}

/// An entry without its port and without the brackets of an IPv6 address.
fn split_port(entry: &str) -> (String, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() || entry.parse::<IpNet>().is_ok() {
        return (entry.to_owned(), None);
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    };
    (host.replace(['[', ']'], ""), port)
}

/// The proxy of the system's settings.
#[cfg(any(target_os = "macos", windows))]
fn system_proxy(address: &Url) -> Option<ProxyServer> {
    use hyper_util::client::proxy::matcher::Matcher;

    let proxy = Matcher::from_system().intercept(&address.as_str().parse().ok()?)?;
    proxy.uri().to_string().parse().ok().map(ProxyServer)
}

/// The proxy of the system's settings. This system has none.
#[cfg(not(any(target_os = "macos", windows)))]
const fn system_proxy(_address: &Url) -> Option<ProxyServer> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(address: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        ProxyServer::for_address(&address.parse().unwrap(), variable)
            .map(|proxy| proxy.map(|proxy| proxy.address()))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn the_first_variable_that_has_a_value_counts() {
        let https = "https://chat.example.test";
        let http = "http://chat.example.test";
        let all = [("ALL_PROXY", "socks5h://a:1"), ("all_proxy", "b:2")];
        assert_eq!(proxy(https, &all), Ok(Some("http://b:2".into())));
        assert_eq!(proxy(https, &all[..1]), Ok(Some("socks5h://a:1".into())));
        let both = [
            ("HTTPS_PROXY", "u:p@c:3"),
            ("https_proxy", "https://d:4"),
            all[0],
        ];
        assert_eq!(proxy(https, &both), Ok(Some("https://d:4".into())));
        assert_eq!(proxy(https, &both[..1]), Ok(Some("http://c:3".into())));
        assert_eq!(proxy(http, &[("HTTP_PROXY", "e:5")]), Ok(None));
        assert_eq!(
            proxy(http, &[("http_proxy", "e:5")]),
            Ok(Some("http://e:5".into()))
        );
        assert_eq!(proxy("http://127.0.0.1:9", &all), Ok(None));
        assert_eq!(proxy("https://[::1]:9", &all), Ok(None));
        assert_eq!(
            proxy("http://[2001:db8::1]", &all),
            Ok(Some("http://b:2".into()))
        );
    }

    #[test]
    fn a_malformed_proxy_is_an_error_without_its_value() {
        for value in [
            "ftp://hush@a:1",
            "http://",
            "a:port",
            "http://hush:x@:1",
            "hush hush",
            "//hush",
        ] {
            let error = proxy("https://chat.example.test", &[("HTTPS_PROXY", value)]).unwrap_err();
            assert!(
                error.contains("HTTPS_PROXY") && !error.contains("hush"),
                "{value}: {error}"
            );
        }
    }

    #[test]
    fn exceptions_are_names_addresses_blocks_and_ports() {
        for (list, address, expected) in [
            ("*", "https://a.test", true),
            ("a.test", "https://a.test", true),
            ("A.Test", "https://x.a.test", true),
            (".a.test", "https://x.a.test", true),
            (".a.test", "https://a.test", true),
            ("*.a.test", "https://x.a.test", true),
            ("a.test", "https://xa.test", false),
            ("b.test, a.test", "https://a.test", true),
            ("a.test:443", "https://a.test", true),
            ("a.test:8443", "https://a.test", false),
            ("a.test:8443", "https://a.test:8443", true),
            ("10.1.2.3", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8:443", "https://10.1.2.3", true),
            ("10.0.0.0/8:80", "https://10.1.2.3", false),
            ("192.168.0.0/16", "https://10.1.2.3", false),
            ("2001:db8::1", "https://[2001:db8::1]", true),
            ("[2001:db8::1]", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:443", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:80", "https://[2001:db8::1]", false),
            ("2001:db8::/32", "https://[2001:db8::1]", true),
            ("10.1.2.3", "https://[::ffff:10.1.2.3]", true),
            ("", "https://a.test", false),
            (",", "https://a.test", false),
        ] {
            assert_eq!(
                is_excepted(&address.parse().unwrap(), list),
                expected,
                "{list} {address}"
            );
        }
    }
}
