//! A program of another package, which stands beside the node's own. Whoever tests the whole workspace has built it;
//! otherwise it is built here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Returns the program `name` of the last of `packages`, younger than the sources of all of them: those it stands on come
/// before it. A package is called `gim-` and its folder.
pub(crate) fn program(name: &str, packages: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_ws-node")).parent().expect("a folder");
    let program = folder.join(name);
    if !is_fresh(&program, packages) {
        let package = packages.last().expect("a package");
        build(folder, &format!("gim-{package}"), name);
    }
    program
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn is_fresh(program: &Path, packages: &[&str]) -> bool {
    let Some(built) = changed(program) else { return false };
    let packages = packages.iter().map(|package| workspace().join(package));
    let folders = packages.flat_map(|package| [package.join("src"), package.join("proto")]);
    let sources = folders.filter_map(|folder| youngest(&folder));
    sources.chain(changed(&workspace().join("Cargo.lock"))).all(|at| at <= built)
}

fn youngest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let of = |path: PathBuf| if path.is_dir() { youngest(&path) } else { changed(&path) };
    entries.filter_map(|entry| of(entry.path())).max()
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}

fn build(folder: &Path, package: &str, name: &str) {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "-p", package, "--bin", name]);
    build.arg("--manifest-path").arg(workspace().join("Cargo.toml"));
    build.arg("--target-dir").arg(folder.parent().expect("the folder of all profiles"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "{name} does not build");
}
