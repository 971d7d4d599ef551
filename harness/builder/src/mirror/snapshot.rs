//! A snapshot archive: it keeps every version that a Debian archive ever had.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    digest::Sha256,
    fetch::{self, FetchError},
    progress::Progress,
};

/// The environment variable that names a snapshot archive.
pub const SNAPSHOT_VARIABLE: &str = "BPF_TOKEN_HARNESS_SNAPSHOT";

/// The architectures of the packages that are used here.
const ARCHITECTURES: [&str; 2] = ["amd64", "all"];

/// Why a snapshot archive does not supply a package.
#[derive(Debug, Error)]
enum SnapshotError {
    /// It could not be asked, or does not know the package.
    #[error("{url}: {error}")]
    Request { url: String, error: Box<ureq::Error> },
    /// Its answer is not a list of files.
    #[error("{url}: {error}")]
    Answer { url: String, error: serde_json::Error },
    /// It has no file of the package for this architecture.
    #[error("it has no file of {0} for amd64")]
    NoFile(String),
    /// The file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// The files of one version of a package: the answer to `/mr/binary/NAME/VERSION/binfiles`.
#[derive(Debug, Deserialize)]
struct Files {
    result: Vec<File>,
}

/// A file, and the name that the archive keeps it under.
#[derive(Debug, Deserialize)]
struct File {
    architecture: String,
    hash: String,
}

/// Returns the file of a package with this sum from the snapshot archive that the environment names, if it names one
/// that has it. The pinned sum proves the file, whoever sent it.
pub(super) fn find(name: &str, version: &str, sha256: Sha256, into: &Path, progress: &Progress) -> Option<PathBuf> {
    let base = env::var(SNAPSHOT_VARIABLE).ok().filter(|base| !base.is_empty())?;
    match fetch_from(&base, (name, version), sha256, into, progress) {
        Ok(file) => Some(file),
        Err(error) => {
            progress.note(&format!("the snapshot archive {base} does not supply {name}={version}: {error}"));
            None
        }
    }
}

fn fetch_from(
    base: &str,
    (name, version): (&str, &str),
    sha256: Sha256,
    into: &Path,
    progress: &Progress,
) -> Result<PathBuf, SnapshotError> {
    let base = base.trim_end_matches('/');
    let url = format!("{base}/mr/binary/{}/{}/binfiles", encoded(name), encoded(version));
    let answer = fetch::request(&url, 0).and_then(|mut answer| answer.body_mut().read_to_string());
    let answer = answer.map_err(|error| SnapshotError::Request { url: url.clone(), error: error.into() })?;
    let files: Files = serde_json::from_str(&answer).map_err(|error| SnapshotError::Answer { url, error })?;
    let path = into.join("package.deb");
    let mut failed = SnapshotError::NoFile(format!("{name}={version}"));
    for file in files.result.iter().filter(|file| ARCHITECTURES.contains(&file.architecture.as_str())) {
        match fetch::download(&format!("{base}/file/{}", file.hash), sha256, &path, progress) {
            Ok(()) => return Ok(path),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// Encodes what a name or a version may have that some servers read differently in a URL.
fn encoded(text: &str) -> String {
    text.replace('+', "%2B").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// Serves these bodies by path, for this many requests.
    fn serve(bodies: &'static [(&'static str, &'static str)], requests: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for _ in 0..requests {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = lines.next().unwrap();
                lines.find(String::is_empty);
                let path = first.split(' ').nth(1).unwrap();
                let (status, body) = match bodies.iter().find(|(known, _)| *known == path) {
                    Some((_, body)) => ("200 OK", *body),
                    None => ("404 Not Found", ""),
                };
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
            }
        });
        url
    }

    const BODIES: &[(&str, &str)] = &[
        (
            "/mr/binary/p/1%3A2~bpo13%2B1/binfiles",
            r#"{"package": "p", "result": [{"architecture": "arm64", "hash": "a"}, {"architecture": "all", "hash": "b"}]}"#,
        ),
        ("/mr/binary/p/3/binfiles", r#"{"result": [{"architecture": "arm64", "hash": "a"}]}"#),
        ("/file/a", "of another architecture"),
        ("/file/b", "package"),
    ];

    fn fetched(version: &str, contents: &str) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let sum = Sha256::of_reader(contents.as_bytes()).unwrap();
        let base = serve(BODIES, 2);
        fetch_from(&base, ("p", version), sum, folder.path(), &Progress::silent())
            .map(|path| std::fs::read(path).unwrap())
            .map_err(|error| error.to_string().replace(&base, "SNAPSHOT"))
    }

    #[test]
    fn a_version_is_found_by_its_name_and_proved_by_its_sum() {
        assert_eq!(fetched("1:2~bpo13+1", "package").unwrap(), b"package");
        let error = fetched("1:2~bpo13+1", "another").unwrap_err();
        assert!(error.starts_with("SNAPSHOT/file/b has the wrong SHA-256 sum:"), "{error}");
    }

    #[test]
    fn what_the_archive_lacks_is_named() {
        insta::assert_snapshot!(fetched("2", "package").unwrap_err(), @"SNAPSHOT/mr/binary/p/2/binfiles: http status: 404");
        insta::assert_snapshot!(fetched("3", "package").unwrap_err(), @"it has no file of p=3 for amd64");
    }
}
