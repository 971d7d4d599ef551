//! Kernels in a repository of an OCI registry: each is a manifest under a tag, with its record as the configuration and its files as
//! layers, which have their names as other tools write them (`org.opencontainers.image.title`).

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use docker_credential::DockerCredential;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{DigestError, OciDistributionError, OciErrorCode},
    manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest},
    secrets::RegistryAuth,
};
use tokio::{
    io::AsyncWrite,
    runtime::{Builder, Runtime},
};

use super::{FileRecord, LARGEST_RECORD, Push, Pushed, Shared, SharingError, place::Registry};
use crate::{
    digest::Sha256,
    file::{self, FileError},
    progress::Task,
};

/// The type of the artefact and of its configuration, which is the record of the build.
const KERNEL: &str = "application/vnd.bpf-token-harness.kernel.v1+json";
/// The type of its files.
const FILE: &str = "application/octet-stream";
/// The annotation with a file's name.
const TITLE: &str = "org.opencontainers.image.title";

/// The time limit of a connection, and of each read.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to a repository.
struct Connection<'a> {
    registry: &'a Registry,
    name: &'a str,
    reference: Reference,
    client: Client,
    runtime: Runtime,
}

impl<'a> Connection<'a> {
    fn open(registry: &'a Registry, name: &'a str) -> Result<Self, SharingError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| unreachable(registry, error);
        // Another part of the program may have chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(error.into()))?;
        let reference = Reference::with_tag(registry.host.clone(), registry.repository.clone(), name.to_owned());
        let client = client(registry).map_err(failed)?;
        let connection = Self { registry, name, reference, client, runtime };
        // The client asks the registry with what is stored here.
        let auth = credentials(&registry.host);
        connection.runtime.block_on(connection.client.store_auth_if_needed(&registry.host, &auth));
        Ok(connection)
    }

    /// Says what an error of the client means, and what to do about it.
    fn blame(&self, error: OciDistributionError, file: Option<&str>) -> SharingError {
        let (place, name) = (self.registry.to_string(), self.name.to_owned());
        let is_unknown = |code: &OciErrorCode| {
            matches!(code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
        };
        let damaged = |what: String| SharingError::Damaged { place: place.clone(), name: name.clone(), what };
        match (error, file) {
            (OciDistributionError::DigestError(DigestError::VerificationError { .. }), Some(file)) => {
                damaged(format!("{file} has another digest than its manifest says"))
            }
            (OciDistributionError::ImageManifestNotFoundError(_), _) => SharingError::NotShared { place, name },
            (OciDistributionError::ServerError { code: 404, .. }, None) => SharingError::NotShared { place, name },
            (OciDistributionError::RegistryError { envelope, .. }, None)
                if envelope.errors.iter().any(|error| is_unknown(&error.code)) =>
            {
                SharingError::NotShared { place, name }
            }
            (OciDistributionError::RegistryError { envelope, .. }, Some(file))
                if envelope.errors.iter().any(|error| matches!(error.code, OciErrorCode::BlobUnknown)) =>
            {
                damaged(format!("{file} is gone"))
            }
            (OciDistributionError::ServerError { code: 404, .. }, Some(file)) => damaged(format!("{file} is gone")),
            (OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_), _) => {
                SharingError::Refused { place }
            }
            (error, Some(file)) => SharingError::Interrupted { name, file: file.to_owned(), source: error.into() },
            (error, None) => unreachable(self.registry, error.into()),
        }
    }
}

/// Makes a client. The crate needs the system's certificates of authorities even for a registry without encryption, and a small
/// container may lack them; nothing else can fail here.
fn client(registry: &Registry) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let config = ClientConfig {
        protocol: if registry.is_encrypted { ClientProtocol::Https } else { ClientProtocol::Http },
        connect_timeout: Some(TIMEOUT),
        read_timeout: Some(TIMEOUT),
        user_agent: concat!("bpf-token-harness/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{cause}; install the certificates of authorities (`apt-get install ca-certificates`)").into()
    })
}

fn unreachable(registry: &Registry, source: Box<dyn std::error::Error + Send + Sync>) -> SharingError {
    SharingError::unreachable(registry.to_string(), source)
}

/// Returns what `docker login` or a credential helper of docker keeps for a registry.
fn credentials(host: &str) -> RegistryAuth {
    match docker_credential::get_credential(host) {
        Ok(DockerCredential::UsernamePassword(user, password)) => RegistryAuth::Basic(user, password),
        Ok(DockerCredential::IdentityToken(_)) | Err(_) => RegistryAuth::Anonymous,
    }
}

/// A kernel in a repository.
pub(super) struct InRegistry<'a> {
    connection: Connection<'a>,
    manifest: OciImageManifest,
}

impl<'a> InRegistry<'a> {
    pub(super) fn open(registry: &'a Registry, name: &'a str) -> Result<Self, SharingError> {
        let connection = Connection::open(registry, name)?;
        let auth = RegistryAuth::Anonymous;
        let pulled = connection.client.pull_image_manifest(&connection.reference, &auth);
        let (manifest, _) = connection.runtime.block_on(pulled).map_err(|error| connection.blame(error, None))?;
        Ok(Self { connection, manifest })
    }

    fn damaged(&self, what: String) -> SharingError {
        let (place, name) = (self.connection.registry.to_string(), self.connection.name.to_owned());
        SharingError::Damaged { place, name, what }
    }

    /// Writes a blob of at most this many bytes.
    fn pull(&self, blob: &OciDescriptor, out: Bounded<'_>, file: &str) -> Result<(), SharingError> {
        let connection = &self.connection;
        let pulled = connection.client.pull_blob(&connection.reference, blob, out);
        connection.runtime.block_on(pulled).map_err(|error| connection.blame(error, Some(file)))
    }
}

impl Shared for InRegistry<'_> {
    fn record(&mut self) -> Result<Vec<u8>, SharingError> {
        if self.manifest.config.media_type != KERNEL {
            return Err(self.damaged("its manifest is not that of a kernel".to_owned()));
        }
        let mut text = Vec::new();
        let out = Bounded { out: &mut text, left: LARGEST_RECORD, task: None };
        self.pull(&self.manifest.config, out, "the record")?;
        Ok(text)
    }

    fn fetch(&mut self, file: &str, record: &FileRecord, into: &Path, task: &Task) -> Result<(), SharingError> {
        let is_file = |layer: &&OciDescriptor| {
            layer.annotations.as_ref().and_then(|all| all.get(TITLE)).is_some_and(|name| name == file)
        };
        let layer = self.manifest.layers.iter().find(is_file);
        let layer = layer.ok_or_else(|| self.damaged(format!("its manifest has no {file}")))?;
        if layer.digest != digest(record.sha256) {
            return Err(self.damaged(format!("{file} has another digest than its record says")));
        }
        let mut out = File::create(into).map_err(FileError::of("write", into))?;
        self.pull(layer, Bounded { out: &mut out, left: record.bytes, task: Some(task) }, file)
    }
}

/// Writes what arrives, up to a limit, to something that needs no waiting.
struct Bounded<'a> {
    out: &'a mut dyn Write,
    left: u64,
    task: Option<&'a Task>,
}

impl AsyncWrite for Bounded<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let count = bytes.len() as u64;
        let Some(left) = self.left.checked_sub(count) else {
            return Poll::Ready(Err(std::io::Error::other("it has more bytes than its record says")));
        };
        self.left = left;
        if let Some(task) = self.task {
            task.advance(count);
        }
        Poll::Ready(self.out.write_all(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(self.out.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_flush(context)
    }
}

fn digest(sum: Sha256) -> String {
    format!("sha256:{sum}")
}

/// Pushes a kernel: its files, then its record, then the manifest, which makes it visible.
pub(super) fn push(registry: &Registry, pushed: &Pushed<'_>, push: Push, task: &Task) -> Result<bool, SharingError> {
    let connection = Connection::open(registry, pushed.name)?;
    if push == Push::Missing && is_there(&connection)? {
        return Ok(false);
    }
    let mut layers = Vec::new();
    for (name, record) in pushed.files {
        task.detail(name);
        let blob = digest(record.sha256);
        upload(&connection, name, file::read(&pushed.folder.join(name))?, &blob)?;
        task.advance(record.bytes);
        let annotations = Some(BTreeMap::from([(TITLE.to_owned(), name.clone())]));
        layers.push(OciDescriptor { annotations, ..descriptor(FILE, blob, record.bytes) });
    }
    let record = digest(Sha256::of_reader(pushed.record.as_slice()).map_err(FileError::of("read", pushed.folder))?);
    upload(&connection, "the record", pushed.record.clone(), &record)?;
    let manifest = OciImageManifest {
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        config: descriptor(KERNEL, record, pushed.record.len() as u64),
        layers,
        artifact_type: Some(KERNEL.to_owned()),
        ..OciImageManifest::default()
    };
    let manifest = OciManifest::Image(manifest);
    let done = connection.client.push_manifest(&connection.reference, &manifest);
    connection.runtime.block_on(done).map_err(|error| connection.blame(error, Some("the manifest")))?;
    Ok(true)
}

fn descriptor(kind: &str, digest: String, bytes: u64) -> OciDescriptor {
    let size = i64::try_from(bytes).unwrap_or(i64::MAX);
    OciDescriptor { media_type: kind.to_owned(), digest, size, ..OciDescriptor::default() }
}

fn is_there(connection: &Connection<'_>) -> Result<bool, SharingError> {
    let asked = connection.client.fetch_manifest_digest(&connection.reference, &RegistryAuth::Anonymous);
    match connection.runtime.block_on(asked).map_err(|error| connection.blame(error, None)) {
        Ok(_) => Ok(true),
        Err(SharingError::NotShared { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Uploads a blob, always: a registry whose copy is damaged says that it has it.
fn upload(connection: &Connection<'_>, file: &str, bytes: Vec<u8>, digest: &str) -> Result<(), SharingError> {
    let done = connection.client.push_blob(&connection.reference, bytes, digest);
    connection.runtime.block_on(done).map(drop).map_err(|error| connection.blame(error, Some(file)))
}
