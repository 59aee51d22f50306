//! Archives as real tools make them. A tool that this machine does not have is passed over.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::read;
use stonescriptdb_bundle::{Bundle, BundleError, Kind};

/// A fresh project folder with a bundle in it, one file of which has a long path.
fn project(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    let files = [
        ("postgresql/tables/users.pssql".to_owned(), "CREATE TABLE users (id int);\n"),
        (format!("postgresql/functions/{}/{}.sql", "d".repeat(130), "f".repeat(130)), "SELECT 1;\n"),
        ("postgresql/views/größe.sql".to_owned(), "SELECT 2;\n"),
        ("README.md".to_owned(), "# Project\n"),
    ];
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// The standard output of a command run in a folder; none if it cannot be run there.
fn output(folder: &Path, command: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(command).args(arguments).current_dir(folder).output().ok()?;
    if !output.status.success() {
        eprintln!("passed over: {command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output.stdout)
}

fn check(bundle: Result<Bundle, BundleError>, warnings: usize) {
    let bundle = bundle.unwrap();
    let names: Vec<&str> = bundle.files.iter().map(|file| file.file_name()).collect();
    assert_eq!(names, ["users.pssql", &format!("{}.sql", "f".repeat(130)), "größe.sql"]);
    assert_eq!(bundle.of_kind(Kind::View).next().unwrap().text, "SELECT 2;\n");
    assert_eq!(bundle.warnings.len(), warnings, "{:?}", bundle.warnings);
}

#[test]
fn gnu_tar() {
    let folder = project("gnu_tar");
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        let format = format!("--format={format}");
        for (what, warnings) in [(".", 1), ("postgresql", 0), ("../gnu_tar", 1)] {
            for options in ["-cf", "-czf"] {
                if let Some(archive) = output(&folder, "tar", &[&format, options, "-", what]) {
                    check(read(&archive), warnings);
                }
            }
        }
    }
    if let Some(archive) = output(&folder.join("postgresql"), "tar", &["-czf", "-", "functions", "tables", "views"]) {
        check(read(&archive), 0);
    }
}

#[test]
fn gnu_tar_sparse_files_and_links() {
    let folder = project("gnu_tar_links");
    let sparse = std::fs::File::create(folder.join("postgresql/tables/sparse.sql")).unwrap();
    sparse.set_len(10_000_000).unwrap();
    for format in ["--format=gnu", "--format=pax"] {
        if let Some(archive) = output(&folder, "tar", &[format, "--sparse", "-cf", "-", "postgresql"]) {
            let refused = read(&archive).unwrap_err();
            assert!(matches!(refused, BundleError::UnsupportedEntry { what: "a sparse file", .. }), "{refused:?}");
        }
    }
    std::fs::remove_file(folder.join("postgresql/tables/sparse.sql")).unwrap();
    std::fs::hard_link(folder.join("README.md"), folder.join("hard")).unwrap();
    if let Some(archive) = output(&folder, "tar", &["-cf", "-", "."]) {
        assert!(matches!(read(&archive).unwrap_err(), BundleError::UnsupportedEntry { what: "a hard link", .. }));
    }
}

#[test]
fn git_archive() {
    let folder = project("git_archive");
    let git = |arguments: &[&str]| {
        let mut all = vec!["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"];
        all.extend_from_slice(arguments);
        output(&folder, "git", &all)
    };
    if git(&["init", "-q"]).and(git(&["add", "."])).and(git(&["commit", "-qm", "x"])).is_none() {
        return;
    }
    for arguments in [&["archive", "HEAD"][..], &["archive", "--format=tar.gz", "--prefix=app/", "HEAD"]] {
        check(read(&git(arguments).unwrap()), 1);
    }
}

#[test]
fn python_tarfile() {
    let folder = project("python_tarfile");
    for (format, warnings) in [("PAX", 1), ("GNU", 1)] {
        let script = format!(
            "import sys, tarfile; t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|gz', format=tarfile.{format}_FORMAT); \
             t.add('.'); t.close()"
        );
        if let Some(archive) = output(&folder, "python3", &["-c", &script]) {
            check(read(&archive), warnings);
        }
    }
}

#[test]
fn bsdtar() {
    let folder = project("bsdtar");
    for format in ["--format=pax", "--format=ustar", "--format=gnutar"] {
        // ustar cannot hold the long path; the tool then fails and is passed over.
        if let Some(archive) = output(&folder, "bsdtar", &[format, "-czf", "-", "."]) {
            check(read(&archive), 1);
        }
    }
}
