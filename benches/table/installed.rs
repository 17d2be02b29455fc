//! Programs as an installation leaves them: copied.
//!
//! The kernel keeps a file in memory in pieces of the size in which it was written. A linker writes here and there, and
//! what it made starts a quarter slower, and takes less memory, than the same bytes copied by `cargo install` or a
//! package manager. So our program is measured as a copy, and the limits are, too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static PRESENCECTL: LazyLock<PathBuf> = LazyLock::new(|| {
    installed(Path::new(env!("CARGO_BIN_EXE_presencectl"))).expect("the target folder takes files")
});
static OWN: LazyLock<PathBuf> = LazyLock::new(|| {
    let own = std::env::current_exe().expect("a running program has a file");
    installed(&own).expect("the target folder takes files")
});

fn installed(built: &Path) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    fs::create_dir_all(&folder)?;
    let copy = folder.join(built.file_name().unwrap_or_default());
    fs::copy(built, &copy)?;
    Ok(copy)
}

/// The program under test.
pub(crate) fn presencectl() -> &'static Path {
    &PRESENCECTL
}

/// This executable.
pub(crate) fn own() -> &'static Path {
    &OWN
}
