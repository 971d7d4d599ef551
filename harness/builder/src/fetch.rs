//! Downloads a file by URL: resumes an interrupted download, and keeps the file only if it has the pinned sum.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use thiserror::Error;
use ureq::{Agent, Body, http::Response};

use crate::{
    digest::Sha256,
    file::FileError,
    progress::{Progress, Task, Unit},
};

/// How often a download is attempted, resumed attempts included.
const ATTEMPTS: u32 = 3;
/// The time limit of a connection, and of each read.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a file could not be downloaded.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The server does not answer, or not with the file.
    #[error("cannot download {url}: {error}; check the address and the network")]
    Request {
        /// The address.
        url: String,
        /// The error of the request.
        error: Box<ureq::Error>,
    },
    /// The connection ended too early in every attempt.
    #[error(
        "the download of {url} was interrupted {ATTEMPTS} times, the last time after {got} of {expected} bytes; try again"
    )]
    CutShort {
        /// The address.
        url: String,
        /// The number of bytes received.
        got: u64,
        /// The number of bytes the server announced.
        expected: u64,
    },
    /// The file does not have the pinned sum.
    #[error(
        "{url} has the wrong SHA-256 sum:\n  pinned   {pinned}\n  received {received}\nthe download was discarded; {WHAT_NOW}"
    )]
    WrongSum {
        /// The address.
        url: String,
        /// The pinned sum.
        pinned: Sha256,
        /// The sum of the received file.
        received: Sha256,
    },
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

const WHAT_NOW: &str = "if the file was replaced on purpose, write the received sum into the manifest";

/// Downloads `url` to `path`, and removes the file again if the download fails.
pub fn download(url: &str, pinned: Sha256, path: &Path, progress: &Progress) -> Result<(), FetchError> {
    let result = try_download(url, pinned, path, progress);
    if result.is_err() {
        // A partial file is worthless; the first error is the one to report.
        let _ = std::fs::remove_file(path);
    }
    result
}

fn try_download(url: &str, pinned: Sha256, path: &Path, progress: &Progress) -> Result<(), FetchError> {
    let write_error = |source| FetchError::from(FileError::of("write", path)(source));
    let mut file =
        File::options().create(true).truncate(true).read(true).write(true).open(path).map_err(write_error)?;
    let task = progress.task(&format!("download {url}"), Unit::Bytes, None);
    let mut state = Transfer { got: 0, expected: None };
    for _ in 0..ATTEMPTS {
        state.attempt(url, &mut file, &task).map_err(|failure| match failure {
            Failure::Request(error) => FetchError::Request { url: url.to_owned(), error },
            Failure::Write(source) => write_error(source),
        })?;
        if state.is_whole() {
            task.finish("done");
            return match check(pinned, file).map_err(write_error)? {
                None => Ok(()),
                Some(received) => Err(FetchError::WrongSum { url: url.to_owned(), pinned, received }),
            };
        }
        progress.note(&format!("{url}: interrupted after {} bytes, resuming", state.got));
    }
    Err(FetchError::CutShort { url: url.to_owned(), got: state.got, expected: state.expected.unwrap_or(state.got) })
}

/// Why an attempt ended in a way that another attempt cannot fix.
enum Failure {
    Request(Box<ureq::Error>),
    Write(io::Error),
}

/// The state of a download.
struct Transfer {
    got: u64,
    expected: Option<u64>,
}

impl Transfer {
    /// Reports whether everything announced has arrived; if nothing was announced, the sum decides.
    fn is_whole(&self) -> bool {
        self.expected.is_none_or(|expected| self.got >= expected)
    }

    /// Continues where the last attempt ended.
    fn attempt(&mut self, url: &str, file: &mut File, task: &Task) -> Result<(), Failure> {
        let response = request(url, self.got).map_err(|error| Failure::Request(error.into()))?;
        if response.status() != 206 {
            self.got = 0;
        }
        file.set_len(self.got).and_then(|()| file.seek(SeekFrom::End(0))).map_err(Failure::Write)?;
        self.expected = response.body().content_length().map(|rest| rest + self.got);
        if let Some(expected) = self.expected {
            task.total(expected);
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        // A failed read is an interrupted connection: the count shows what is missing.
        while let Ok(count @ 1..) = body.read(&mut buffer) {
            file.write_all(&buffer[..count]).map_err(Failure::Write)?;
            self.got += count as u64;
            task.set(self.got);
        }
        Ok(())
    }
}

/// Requests the file from this byte on.
pub(crate) fn request(url: &str, from: u64) -> Result<Response<Body>, ureq::Error> {
    let config = Agent::config_builder().timeout_connect(Some(CONNECT_TIMEOUT)).timeout_per_read(Some(CONNECT_TIMEOUT));
    let request = Agent::from(config.build()).get(url);
    if from > 0 { request.header("Range", format!("bytes={from}-")).call() } else { request.call() }
}

/// Flushes the received file to the disk; returns its sum if it is not the pinned one.
fn check(pinned: Sha256, mut file: File) -> io::Result<Option<Sha256>> {
    file.rewind()?;
    let received = Sha256::of_reader(&file)?;
    file.sync_all()?;
    Ok(Some(received).filter(|received| *received != pinned))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;

    const BODY: &[u8] = b"a release tarball";

    /// Answers one request with each of these functions, which receive the requested offset.
    fn serve(answers: Vec<fn(&mut TcpStream, usize)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/linux.tar", listener.local_addr().unwrap());
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut from = 0;
                for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                    let line = line.to_lowercase();
                    from =
                        line.strip_prefix("range: bytes=").map_or(from, |r| r.trim_end_matches('-').parse().unwrap());
                    if line.is_empty() {
                        break;
                    }
                }
                answer(&mut stream, from);
            }
        });
        url
    }

    fn head(stream: &mut TcpStream, status: &str, length: usize) {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").unwrap();
    }

    fn whole(stream: &mut TcpStream, _from: usize) {
        head(stream, "200 OK", BODY.len());
        stream.write_all(BODY).unwrap();
    }

    fn cut(stream: &mut TcpStream, _from: usize) {
        head(stream, "200 OK", BODY.len());
        stream.write_all(&BODY[..5]).unwrap();
    }

    fn rest(stream: &mut TcpStream, from: usize) {
        assert_eq!(from, 5, "the download was not resumed where it was cut");
        head(stream, "206 Partial Content", BODY.len() - from);
        stream.write_all(&BODY[from..]).unwrap();
    }

    fn missing(stream: &mut TcpStream, _from: usize) {
        head(stream, "404 Not Found", 0);
    }

    fn fetch(url: &str, pinned: &[u8]) -> (Result<(), FetchError>, Option<Vec<u8>>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (progress, log) = Progress::captured();
        let result = download(url, Sha256::of_reader(pinned).unwrap(), &path, &progress);
        (result, std::fs::read(path).ok(), log.text())
    }

    #[test]
    fn a_good_file_is_kept() {
        let (result, kept, _) = fetch(&serve(vec![whole]), BODY);
        result.unwrap();
        assert_eq!(kept.as_deref(), Some(BODY));
    }

    #[test]
    fn a_wrong_sum_shows_both_and_keeps_nothing() {
        let url = serve(vec![whole]);
        let (result, kept, _) = fetch(&url, b"something else");
        let message = result.unwrap_err().to_string();
        let message = message.replace(&url, "URL");
        insta::assert_snapshot!(message, @r"
        URL has the wrong SHA-256 sum:
          pinned   f41f3fa625ff120ddca7ef456bf66371ecea23c129f4e4c32367101edb516cf8
          received 263a6c013c7c3f374659b7b299c33abf8e9ff0611077481d91efcf65d7da02ea
        the download was discarded; if the file was replaced on purpose, write the received sum into the manifest
        ");
        assert_eq!(kept, None);
    }

    #[test]
    fn an_interrupted_download_is_resumed() {
        let url = serve(vec![cut, rest]);
        let (result, kept, log) = fetch(&url, BODY);
        result.unwrap();
        assert_eq!(kept.as_deref(), Some(BODY));
        let log = log.replace(&url, "URL");
        assert!(log.starts_with("download URL\nURL: interrupted after 5 bytes, resuming\n"), "{log}");
    }

    #[test]
    fn a_server_that_cannot_resume_starts_over() {
        let (result, kept, _) = fetch(&serve(vec![cut, whole]), BODY);
        result.unwrap();
        assert_eq!(kept.as_deref(), Some(BODY));
    }

    #[test]
    fn a_download_that_is_always_interrupted_fails_and_keeps_nothing() {
        let url = serve(vec![cut, cut, cut]);
        let (result, kept, _) = fetch(&url, BODY);
        let message = result.unwrap_err().to_string();
        insta::assert_snapshot!(message.replace(&url, "URL"), @"the download of URL was interrupted 3 times, the last time after 5 of 17 bytes; try again");
        assert_eq!(kept, None);
    }

    #[test]
    fn failed_requests_name_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = format!("http://{}/x", listener.local_addr().unwrap());
        drop(listener);
        let message = |url: &str| {
            let (result, kept, _) = fetch(url, BODY);
            assert_eq!(kept, None);
            result.unwrap_err().to_string().replace(url, "URL")
        };
        insta::assert_snapshot!(message(&gone), @"cannot download URL: io: Connection refused (os error 111); check the address and the network");
        insta::assert_snapshot!(message(&serve(vec![missing])), @"cannot download URL: http status: 404; check the address and the network");
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/f");
        let sum = Sha256::of_reader(BODY).unwrap();
        let error = download("http://127.0.0.1:9/x", sum, &path, &Progress::silent()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
    }
}
