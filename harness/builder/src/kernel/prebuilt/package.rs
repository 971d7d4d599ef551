//! Unpacks a kernel's packages: only plain files, and only below a folder.

use std::{
    io::{self, Read},
    panic,
    path::{Component, Path, PathBuf},
};

use super::{error::PartsError, rpm_header};
use crate::mirror::{self, Unpacking};

/// The folders of a package with the wanted files of a kernel.
const FOLDERS: [&str; 3] = ["boot", "lib/modules", "usr/lib/modules"];

/// Unpacks a package file into a folder.
pub(super) fn unpack(package: &Path, into: &Path) -> Result<(), PartsError> {
    match package.extension().and_then(|extension| extension.to_str()) {
        Some("deb") => mirror::unpack_wanted(package, into, &|path| inside(path).is_some())
            .map_err(|source| PartsError::Unpack { package: package.to_owned(), source }),
        // A package that is damaged in a way that the crate does not expect must not end this program.
        Some("rpm") => panic::catch_unwind(|| unpack_rpm(package, Unpacking::to(into)))
            .unwrap_or_else(|_| Err(rpm_header::damaged().into()))
            .map_err(|source| PartsError::Rpm { package: package.to_owned(), source }),
        _ => Err(PartsError::Kind(package.to_owned())),
    }
}

/// Unpacks the archive in a `.deb`, as [`unpack`] does.
pub(super) fn unpack_archive(archive: &[u8], into: &Path) -> Result<(), PartsError> {
    mirror::unpack_archive(archive, into, &|path| inside(path).is_some())
        .map_err(|source| PartsError::Unpack { package: "an archive".into(), source })
}

fn unpack_rpm(package: &Path, mut to: Unpacking<'_>) -> Result<(), rpm::Error> {
    rpm_header::check(package)?;
    let mut reader = rpm::PackageReader::open(package)?;
    while let Some(mut file) = reader.next_file()? {
        let size = file.metadata.size() as u64;
        to.count(size).map_err(io::Error::other)?;
        let wanted = (file.metadata.file_type() == rpm::FileType::Regular).then(|| inside(&file.metadata.path()));
        if let Some(path) = wanted.flatten() {
            to.plain_file(&path, &mut file.by_ref().take(size))?;
        }
        file.finish()?;
    }
    Ok(())
}

/// Returns the path of a package's file relative to the folder; `None` if it is not wanted, or would leave the folder.
fn inside(path: &Path) -> Option<PathBuf> {
    let path: PathBuf = path.strip_prefix("/").unwrap_or(path).to_owned();
    let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    (plain && FOLDERS.iter().any(|folder| path.starts_with(folder))).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rpm::{CompressionType, FileOptions, PackageBuilder};

    use super::*;

    /// Makes a package with these files, and a link out of its folder.
    fn package(folder: &Path, files: &[(&str, &[u8])], compression: CompressionType) -> PathBuf {
        let mut builder = PackageBuilder::new("kernel-core", "7.3.0", "GPL-2.0-only", "x86_64", "The kernel");
        builder.using_config(rpm::BuildConfig::v4().compression(compression));
        for (path, contents) in files {
            builder.with_file_contents(*contents, FileOptions::new(*path)).unwrap();
        }
        builder.with_symlink(FileOptions::symlink("/lib/modules/7.3.0/build", "/etc")).unwrap();
        let path = folder.join("kernel-core.rpm");
        builder.build().unwrap().write_file(&path).unwrap();
        path
    }

    #[test]
    fn only_the_kernel_files_of_an_rpm_are_unpacked() {
        for compression in [CompressionType::Gzip, CompressionType::Xz, CompressionType::Zstd, CompressionType::None] {
            let folder = tempfile::tempdir().unwrap();
            let files: [(&str, &[u8]); 3] = [
                ("/lib/modules/7.3.0/vmlinuz", b"kernel"),
                ("/boot/config-7.3.0", b"CONFIG_BPF=y\n"),
                ("/etc/x", b"x"),
            ];
            let package = package(folder.path(), &files, compression);
            let into = folder.path().join("into");
            fs::create_dir(&into).unwrap();
            unpack(&package, &into).unwrap();
            assert_eq!(fs::read(into.join("lib/modules/7.3.0/vmlinuz")).unwrap(), b"kernel");
            assert_eq!(fs::read(into.join("boot/config-7.3.0")).unwrap(), b"CONFIG_BPF=y\n");
            assert!(!into.join("etc").exists() && !into.join("lib/modules/7.3.0/build").is_symlink());
        }
    }

    #[test]
    fn an_rpm_that_would_fill_the_disk_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let package = package(folder.path(), &[("/boot/vmlinuz", &[0; 100_000])], CompressionType::Zstd);
        let into = tempfile::tempdir().unwrap();
        let error = unpack_rpm(&package, Unpacking::to(into.path()).with_most_bytes(5000)).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"it unpacks to more than 5000 bytes");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_rpm_whose_header_points_beyond_its_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = package(folder.path(), &[("/boot/vmlinuz", b"kernel")], CompressionType::None);
        let mut bytes = fs::read(&path).unwrap();
        // The offset of the first entry of the signature header, behind the lead, the intro, the tag and the type.
        bytes[96 + 16 + 8..][..4].copy_from_slice(&43_010_u32.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let error = harness_fixtures::chain(&unpack(&path, folder.path()).unwrap_err());
        insta::assert_snapshot!(error.replace(path.to_str().unwrap(), "PATH"), @r"
        cannot unpack PATH
        caused by: a header of the package is damaged
        ");
    }

    #[test]
    fn nothing_leaves_the_folder() {
        for path in ["/boot/../../etc/passwd", "../boot/x", "boot/./../x", "/bootx", "/etc/boot"] {
            assert_eq!(inside(Path::new(path)), None, "{path}");
        }
        assert_eq!(inside(Path::new("/boot/vmlinuz")), Some("boot/vmlinuz".into()));
    }

    #[test]
    fn other_files_are_named() {
        let error = unpack(Path::new("/x/kernel.apk"), Path::new("/nowhere")).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"/x/kernel.apk: only .deb and .rpm packages are supported; unpack other packages by hand, and name the files in [source.prebuilt.files]");
        let folder = tempfile::tempdir().unwrap();
        for name in ["cut-short.deb", "cut-short.rpm"] {
            let path = folder.path().join(name);
            fs::write(&path, "\u{ed}\u{ab}").unwrap();
            let message = unpack(&path, folder.path()).unwrap_err().to_string();
            assert_eq!(message, format!("cannot unpack {}", path.display()));
        }
    }
}
