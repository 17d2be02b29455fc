//! What packages install: every file that the metadata names is there or is made by the binary, and lands where
//! distributions look for it.

use std::fs;
use std::path::Path;

use crate::support::Presencectl;

/// Where things are looked for, by the file that goes there.
const PLACES: [(&str, &str); 5] = [
    ("target/release/presencectl", "usr/bin/"),
    ("target/man/*.1", "usr/share/man/man1/"),
    (
        "completions/presencectl.bash",
        "usr/share/bash-completion/completions/presencectl",
    ),
    (
        "completions/_presencectl",
        "usr/share/zsh/vendor-completions/_presencectl",
    ),
    (
        "completions/presencectl.fish",
        "usr/share/fish/vendor_completions.d/presencectl.fish",
    ),
];

fn manifest() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn the_debian_package_has_everything_in_its_place() {
    let manifest = manifest();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets: Vec<Vec<&str>> = deb["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| {
            let words = asset.as_array().unwrap().iter();
            words.map(|word| word.as_str().unwrap()).collect()
        })
        .collect();
    for (file, place) in PLACES {
        assert!(
            assets
                .iter()
                .any(|asset| asset[0] == file && asset[1] == place),
            "{file} does not go to {place}"
        );
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for asset in assets
        .iter()
        .filter(|asset| !asset[0].starts_with("target/"))
    {
        let path = root.join(asset[0].trim_end_matches("*.md"));
        assert!(path.exists(), "{} is missing", asset[0]);
    }
    assert!(
        root.join(deb["license-file"][0].as_str().unwrap())
            .is_file()
    );
}

#[test]
fn a_packed_crate_has_what_the_build_reads() {
    let manifest = manifest();
    let include: Vec<&str> = manifest["package"]["include"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap())
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in &include {
        assert!(root.join(path.trim_start_matches('/')).exists(), "{path}");
    }
    for needed in ["/src", "/build.rs", "/LICENSE", "/README.md"] {
        assert!(include.contains(&needed), "{needed}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("man --dir {}/new/man1", folder.path().display());
    let dry = Presencectl::line(&format!("{line} --dry-run"))
        .run()
        .ended_with(0);
    assert!(dry.stderr.contains("new/man1 is left as it is"), "{dry}");
    assert!(!folder.path().join("new").exists());
    let _ = Presencectl::line(&line).run().ended_with(0);
    let page = |name: &str| {
        let path = folder.path().join("new/man1").join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    assert!(page("presencectl.1").contains(".SH \"EXIT STATUS\""));
    for name in [
        "presencectl-set-user.1",
        "presencectl-profile-add.1",
        "presencectl-mock-start.1",
        "presencectl-man.1",
    ] {
        assert!(page(name).contains(".SH SYNOPSIS"), "{name}");
    }
    let one = Presencectl::line("man profile add")
        .run()
        .stdout_of_success();
    assert_eq!(one, page("presencectl-profile-add.1"));
    let _ = Presencectl::line("man profile ad").run().ended_with(2);
}

#[test]
fn the_version_is_the_packages_with_the_commit_if_the_build_knows_it() {
    // The build script sets this variable where it knows the commit.
    let known = option_env!("PRESENCECTL_VERSION").unwrap_or(env!("CARGO_PKG_VERSION"));
    let version = Presencectl::line("--version").run().stdout_of_success();
    assert_eq!(version, format!("presencectl {known}\n"));
}
