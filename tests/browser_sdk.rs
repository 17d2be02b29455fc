//! The JavaScript SDK in a page of a real browser, against the mock: `tests/browser/sdk.test.mjs`, run by Node.

use std::path::Path;

use serde_json::json;

use crate::sdk_suites::install_node_modules;
use crate::support::browser::in_chromium;
use crate::support::{Presencectl, skip_outside_ci};

#[test]
fn a_page_uses_the_javascript_sdk() {
    in_chromium(|folder, chromium| {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/js");
        if let Err(missing) = install_node_modules(&sdk) {
            return skip_outside_ci("the SDK in a browser", missing);
        }
        let world = tempfile::tempdir().unwrap();
        let fixture = world.path().join("world.json");
        let users = json!({"users": [{"id": "amy"}, {"id": "bob"}]});
        std::fs::write(&fixture, users.to_string()).unwrap();
        let run = Presencectl::new([
            "mock",
            "exec",
            "--development-tokens=true",
            "--fixture",
            fixture.to_str().unwrap(),
            "--",
            "node",
            "--test",
            "--test-timeout=120000",
            "--test-reporter=tap",
            folder.join("sdk.test.mjs").to_str().unwrap(),
        ])
        .env("SDK_MODULES", sdk.join("node_modules").to_str().unwrap())
        .env("CHROMIUM", chromium.to_str().unwrap())
        .run();
        assert_eq!(run.code, Some(0), "{run}");
    });
}
