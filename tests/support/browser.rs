//! Tests of pages: Node drives Chromium by the files in `tests/browser`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skip_outside_ci;
use crate::sdk_suites::install_node_modules;

/// Runs a test that needs the packages of `tests/browser`, and Chromium: it gets both paths.
pub(crate) fn in_chromium(test: impl FnOnce(&Path, &Path)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let missing = match (chromium(), install_node_modules(&folder)) {
        (None, _) => "there is no chromium".to_owned(),
        (_, Err(missing)) => missing.to_string(),
        (Some(chromium), Ok(())) => return test(&folder, &chromium),
    };
    skip_outside_ci("the browser tests", missing);
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| {
            ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
        })
        .find(|program| program.is_file())
}

/// Runs a file of tests with `node`, a command that has the variables which the tests need.
pub(crate) fn run_node_tests(node: &mut Command, folder: &Path, chromium: &Path, file: &str) {
    let output = node
        .current_dir(folder)
        .args([
            "--test",
            "--test-timeout=120000",
            "--test-reporter=tap",
            file,
        ])
        .env("CHROMIUM", chromium)
        .env_remove("NODE_OPTIONS")
        .env_remove("NODE_TEST_CONTEXT")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
