//! Tells the program which commit it is built from, for `--version`; and spares it a library at its start.
//!
//! The commit comes from `PRESENCECTL_COMMIT` where a packager sets it; in release builds also from what cargo packed beside
//! the sources, or from git. Builds without any of these work and say the bare version. Development builds do not ask git:
//! each commit would build everything anew.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=PRESENCECTL_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let given = env::var("PRESENCECTL_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty());
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| release.then(|| packed().or_else(from_git)).flatten());
    if let (Some(commit), Ok(version)) = (commit, env::var("CARGO_PKG_VERSION")) {
        let short: String = commit.chars().take(12).collect();
        println!("cargo:rustc-env=PRESENCECTL_VERSION={version} ({short})");
    }
    if release {
        unwind_from_an_archive();
    }
}

/// Links the unwinder of the C compiler statically, where it is at hand. As a shared library it is a twelfth of what a
/// short call takes, and all of it is finding and mapping a file that is needed when something panics. The linker takes
/// what it finds first, and leaves out the shared library once nothing is missing.
fn unwind_from_an_archive() {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let native = variable("TARGET") == variable("HOST");
    let glibc =
        variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    let dynamic = !variable("CARGO_CFG_TARGET_FEATURE").contains("crt-static");
    if !(native && glibc && dynamic) {
        return;
    }
    let linker = Some(variable("RUSTC_LINKER")).filter(|linker| !linker.is_empty());
    let found = Command::new(linker.as_deref().unwrap_or("cc"))
        .arg("-print-file-name=libgcc_eh.a")
        .output();
    // A compiler that does not have it repeats the name.
    if found
        .is_ok_and(|found| Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_absolute())
    {
        println!("cargo:rustc-link-lib=gcc_eh");
    }
}

/// The commit in the file that cargo adds to a packed crate.
fn packed() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let after = text.split("\"sha1\"").nth(1)?;
    let commit = after.split('"').nth(1)?;
    Some(commit.to_owned())
}

/// The commit of the repository that these sources are checked out from, and no other that happens to be around them.
fn from_git() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={log}");
    git(&["rev-parse", "HEAD"])
}
