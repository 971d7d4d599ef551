//! A policy that may take the place of the one in force.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{
    compile::Compiled,
    layout::{self, BUILD_ID, IMAGE_SIZE, MAGIC, MOST_SETS, POLICY_SIZE, SetKey},
};

/// Why a policy cannot be made an image of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// It could never be reloaded.
    #[error("the policy has no `reload`, and one that takes another's place has the same `reload` as that one")]
    NoReload,
    /// A file's inode is that of one machine and one boot.
    #[error(
        "the policy knows {0} by its inode, which this program cannot know of another machine; give it `identity = \"fs-verity\"` \
         or `\"ima\"`"
    )]
    Inode(String),
    /// Functions and targets are known by ids, which are those of one kernel.
    #[error("the policy names functions or targets of the kernel, and no kernel is given in which to find them")]
    Names,
    /// There is no room.
    #[error("the policy has {0} kfuncs, targets, tags and digests; an image has room for {MOST_SETS}")]
    TooMany(usize),
}

/// What a reload takes, and what is signed: `struct guard_image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
}

impl Image {
    /// Makes an image of a policy. `build_id` is that of the kernel whose BTF has the ids in `names`, the keys of kfuncs and targets;
    /// without either it is for every kernel.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn of(compiled: &Compiled, build_id: Option<[u8; BUILD_ID]>, names: &[SetKey]) -> Result<Self, ImageError> {
        if compiled.settings.reload == layout::RELOAD_NEVER {
            return Err(ImageError::NoReload);
        }
        if let Some((file, _)) = compiled.files.first() {
            return Err(ImageError::Inode(file.clone()));
        }
        if build_id.is_none() && !(compiled.kfuncs.is_empty() && compiled.targets.is_empty()) {
            return Err(ImageError::Names);
        }
        let mut sets: BTreeMap<SetKey, u8> = compiled.identities.iter().copied().collect();
        sets.extend(compiled.tags.iter().chain(names).map(|key| (*key, 1)));
        if sets.len() > MOST_SETS {
            return Err(ImageError::TooMany(sets.len()));
        }
        let mut bytes = Vec::with_capacity(IMAGE_SIZE);
        bytes.extend(MAGIC);
        bytes.extend(u32::try_from(sets.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(build_id.unwrap_or_default());
        bytes.extend([0; 4]);
        bytes.extend(compiled.bytes());
        for (key, value) in &sets {
            bytes.extend(key.bytes());
            bytes.extend([*value, 0, 0, 0]);
        }
        bytes.resize(IMAGE_SIZE, 0);
        Ok(Self { bytes })
    }

    /// Takes the bytes of an image; `None` if it cannot be one.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == IMAGE_SIZE && bytes.starts_with(MAGIC)).then_some(Self { bytes })
    }

    /// Returns what is written into the map of a reload, `struct guard_incoming`: the image and its signature, ready to be judged.
    /// A signature that is too long is cut, and so no right one.
    pub fn incoming(&self, signature: &[u8]) -> Vec<u8> {
        let signature = &signature[..signature.len().min(layout::SIGNATURE)];
        let mut value = vec![0; layout::INCOMING_FIELDS.iter().map(|field| field.size).sum()];
        let size = u32::try_from(signature.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut put = |name: &str, part: &[u8]| {
            let field = layout::INCOMING_FIELDS.iter().find(|field| field.name == name);
            let start = field.expect("a member of the structure").offset;
            value[start..start + part.len()].copy_from_slice(part);
        };
        put("ready", &1_u32.to_le_bytes());
        put("signature_size", &size);
        put("signature", signature);
        put("image", &self.bytes);
        value
    }

    /// Returns its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of its policy.
    pub fn revision(&self) -> u64 {
        let end = POLICY_START + layout::Settings::SIZE;
        let bytes = self.bytes[..end].last_chunk().expect("an image is longer");
        u64::from_le_bytes(*bytes)
    }
}

const POLICY_START: usize = IMAGE_SIZE - POLICY_SIZE - MOST_SETS * (SetKey::SIZE + 4);

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Compiled {
        let text = format!("version = 1\nrevision = 7\n{text}");
        crate::parse("p.toml", &text).unwrap_or_else(|report| panic!("{report}")).0.compile()
    }

    #[test]
    fn an_image_has_what_the_kernel_reads() {
        let digest = "ab".repeat(32);
        let policy = compiled(&format!(
            "[guard]\nreload = \"root\"\n[loaders.agent]\nfile = \"/a/agent\"\nidentity = \"ima\"\ndigest = \"sha256:{digest}\"\n\
             [[rule]]\nallow = true\n"
        ));
        let image = Image::of(&policy, None, &[]).unwrap();
        assert_eq!((image.bytes().len(), image.revision()), (IMAGE_SIZE, 7));
        let at = |name: &str| layout::IMAGE_FIELDS.iter().find(|field| field.name == name).unwrap().offset;
        assert_eq!(image.bytes()[at("entries")..][..4], [1, 0, 0, 0]);
        assert_eq!(image.bytes()[at("policy")..][..4], [4, 0, 0, 0], "its version of the format");
        assert_eq!(image.bytes()[at("sets")..][..5], [0, layout::SET_IMA, 0, 0, 0xab]);
        assert_eq!(image.bytes()[at("sets") + SetKey::SIZE], 1, "the first loader");
        assert_eq!(Image::from_bytes(image.bytes().to_vec()), Some(image.clone()));
        assert_eq!(Image::from_bytes(image.bytes()[1..].to_vec()), None);
    }

    #[test]
    fn what_is_of_one_machine_is_refused() {
        let error = |text: &str| Image::of(&compiled(text), None, &[]).unwrap_err();
        assert_eq!(error(""), ImageError::NoReload);
        let inode = "[guard]\nreload = \"root\"\n[loaders.a]\nfile = \"/a\"\nidentity = \"inode\"\n[[rule]]\nloader = \"a\"\nallow = true\n";
        assert_eq!(error(inode), ImageError::Inode("/a".to_owned()));
        let names = "[guard]\nreload = \"builtin\"\n[profiles.p]\nkfuncs = [\"bpf_cpumask_create\"]\n[[rule]]\nprofile = \"p\"\n";
        assert_eq!(error(names), ImageError::Names);
        let key = SetKey::of_kfunc(0, 12);
        let image = Image::of(&compiled(names), Some([9; BUILD_ID]), &[key]).unwrap();
        assert_eq!(image.bytes()[8..28], [9; BUILD_ID]);
    }
}
