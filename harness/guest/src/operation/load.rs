//! Making maps and loading programs.

use std::{ffi::CString, os::fd::BorrowedFd};

use harness_protocol::plan::{Body, Call, MapTypes, ProgTarget, ProgTypes};

use super::{
    result::{AttemptResult, Handles, OperationError, made},
    signed,
};
use crate::{
    bpf::{self, MapSpec, ProgSpec},
    kernel_types,
};

/// The descriptors of a call's saved objects, taken one after the other.
struct Objects<'a> {
    handles: Handles<'a>,
    next: usize,
}

impl<'a> Objects<'a> {
    fn take(&mut self) -> Result<BorrowedFd<'a>, OperationError> {
        let object = self.handles.object(self.next)?;
        self.next += 1;
        Ok(object)
    }
}

/// `BPF_MAP_CREATE`.
pub(super) fn map_create(
    call: &Call,
    handles: Handles<'_>,
    token: bpf::Token<'_>,
) -> Result<AttemptResult, OperationError> {
    let Call::MapCreate {
        map_type,
        key_size,
        value_size,
        max_entries,
        map_flags,
        inner_map,
        map_extra,
        types,
        exclusive,
    } = call
    else {
        return Err(OperationError::NotForExecutor);
    };
    let mut objects = Objects { handles, next: 0 };
    let mut spec = MapSpec {
        map_type: *map_type,
        key_size: *key_size,
        value_size: *value_size,
        max_entries: *max_entries,
        flags: *map_flags,
        extra: *map_extra,
        inner: inner_map.as_ref().map(|_| objects.take()).transpose()?,
        exclusive: exclusive.as_ref(),
        ..MapSpec::default()
    };
    match types {
        MapTypes::None => {}
        MapTypes::Saved { key, value, .. } => spec.types = Some((objects.take()?, *key, *value)),
        MapTypes::KernelStruct { structure, .. } => {
            let (id, size) = kernel_types::known().structure(structure)?;
            spec.types = Some((objects.take()?, 0, 0));
            spec.structure = id;
            spec.value_size = if spec.value_size == 0 { size } else { spec.value_size };
        }
    }
    Ok(made(bpf::map_create(spec, token)))
}

/// `BPF_PROG_LOAD`.
pub(super) fn prog_load(
    call: &Call,
    handles: Handles<'_>,
    token: bpf::Token<'_>,
) -> Result<AttemptResult, OperationError> {
    let Call::ProgLoad { prog_type, expected_attach_type, prog_flags, body, license, target, types, maps, signature } =
        call
    else {
        return Err(OperationError::NotForExecutor);
    };
    let mut objects = Objects { handles, next: 0 };
    let (target, replaces, member) = target_of(target, &mut objects)?;
    let functions = functions(types.as_ref());
    let types = types.as_ref().map(|_| Ok::<_, OperationError>((objects.take()?, functions.as_slice()))).transpose()?;
    let maps: Vec<BorrowedFd<'_>> = maps.iter().map(|_| objects.take()).collect::<Result<_, _>>()?;
    let license = CString::new(license.replace('\0', "")).expect("zeros were just taken out");
    let (constant, padded);
    let body = match body {
        Body::Instructions(instructions) => instructions.as_slice(),
        Body::Returns(value) => {
            constant = bpf::returning(*value);
            &constant
        }
        Body::Padded { length, instructions } => {
            padded = padding(*length, instructions);
            &padded
        }
    };
    let spec = ProgSpec {
        prog_type: *prog_type,
        expected_attach_type: member.unwrap_or(*expected_attach_type),
        flags: *prog_flags,
        body,
        license: &license,
        target,
        replaces,
        types,
        maps: &maps,
    };
    match signature {
        None => Ok(made(bpf::prog_load(spec, token))),
        Some(signature) => signed::load(spec, signature, token),
    }
}

/// Returns a program of this length that ends with these instructions. It jumps over the others by a branch that is never
/// taken, which the verifier sees, so it does not follow them.
fn padding(length: u32, instructions: &[u64]) -> Vec<u64> {
    // r0 = 0; if r0 != 0 goto +1; goto over all others (a long jump, since Linux 6.6)
    const SET_R0: u64 = 0xb7;
    const JUMP_IF_NOT_0: u64 = 1 << 16 | 0x55;
    const JUMP: u64 = 0x06;
    let missing = (length as usize).saturating_sub(instructions.len());
    let mut program = vec![SET_R0; missing];
    if let Some(rest) = missing.checked_sub(3) {
        program[1..3].copy_from_slice(&[JUMP_IF_NOT_0, (rest as u64) << 32 | JUMP]);
    }
    program.extend_from_slice(instructions);
    program
}

/// The BTF id of the type a program is written for, the program that has the type, and the index of the member.
type LoadTarget<'a> = (u32, Option<BorrowedFd<'a>>, Option<u32>);

fn target_of<'a>(target: &ProgTarget, objects: &mut Objects<'a>) -> Result<LoadTarget<'a>, OperationError> {
    if let ProgTarget::Program { function, .. } = target {
        return Ok((*function, Some(objects.take()?), None));
    }
    let (target, member) = kernel_target(target)?;
    Ok((target, None, member))
}

/// Returns the BTF id of the kernel type that a program is written for, 0 for none, and the index of the member.
pub(super) fn kernel_target(target: &ProgTarget) -> Result<(u32, Option<u32>), OperationError> {
    match target {
        ProgTarget::None => Ok((0, None)),
        ProgTarget::Kernel(wanted) => Ok((kernel_types::known().id(wanted)?, None)),
        ProgTarget::Member(wanted) => {
            let (structure, index, _) = kernel_types::known().member(wanted)?;
            Ok((structure, Some(index)))
        }
        ProgTarget::Program { .. } => Err(OperationError::NotForExecutor),
    }
}

fn functions(types: Option<&ProgTypes>) -> Vec<[u32; 2]> {
    types.map(|types| types.functions.iter().map(|(first, id)| [*first, *id]).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_as_long_as_asked_for_and_ends_with_its_own_instructions() {
        assert_eq!(padding(5, &[1, 2]), [0xb7, 0x1_0055, 0x06, 1, 2], "the jump has nothing to skip");
        assert_eq!(padding(7, &[1, 2]), [0xb7, 0x1_0055, 0x2_0000_0006, 0xb7, 0xb7, 1, 2]);
        assert_eq!(padding(3, &[1, 2]), [0xb7, 1, 2], "too few for a jump");
        assert_eq!(padding(2, &[1, 2]), [1, 2]);
        assert_eq!(padding(900_000, &[1]).len(), 900_000);
    }
}
