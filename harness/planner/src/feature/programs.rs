//! The programs of the features. Each comment names the check in the kernel (in `kernel/bpf/verifier.c` unless it names
//! another file), and who is exempt from it.

use crate::feature::instruction::{
    Arithmetic::{Add, And, Neg, Sub},
    EXIT, R0, R1, R2, R3, R4, R6, R10,
    Size::{Byte, Double, Word},
    When::{Below, Equal, NotEqual},
    call_function, call_helper, call_kernel, change, combine, combine_halves, copy, copy_half, exchange, jump, jump_if,
    jump_if_both, jump_perhaps, load, set, store, store_value, the_map,
};

/// `BPF_FUNC_map_lookup_elem`, granted to every program.
const MAP_LOOKUP_ELEM: i32 = 1;
/// `BPF_FUNC_skb_load_bytes`, granted to every socket filter.
const SKB_LOAD_BYTES: i32 = 26;

/// Offsets of members of `struct __sk_buff` (`include/uapi/linux/bpf.h`).
const SKB_LEN: i16 = 0;
const SKB_MARK: i16 = 8;
const SKB_CB: i16 = 48;
const SKB_DATA: i16 = 76;
const SKB_DATA_END: i16 = 80;
const SKB_TSTAMP: i16 = 152;

/// Uses no feature: shows whether the program type itself is denied.
pub(super) fn nothing() -> Vec<u64> {
    vec![set(R0, 0), EXIT]
}

/// `check_return_code`: R0 leaks addr as return value.
pub(super) fn pointer_returned() -> Vec<u64> {
    vec![copy(R0, R10), EXIT]
}

/// `adjust_reg_min_max_vals`: pointer -= pointer prohibited.
pub(super) fn pointer_subtracted() -> Vec<u64> {
    vec![copy(R2, R10), combine(R2, Sub, R1), set(R0, 0), EXIT]
}

/// `adjust_ptr_min_max_vals`: 32-bit pointer arithmetic prohibited.
pub(super) fn pointer_halves_subtracted() -> Vec<u64> {
    vec![copy(R2, R10), set(R3, 1), combine_halves(R2, Sub, R3), set(R0, 0), EXIT]
}

/// `check_alu_op`: pointer arithmetic prohibited.
pub(super) fn pointer_negated() -> Vec<u64> {
    vec![copy(R2, R10), change(R2, Neg, 0), set(R0, 0), EXIT]
}

/// `check_alu_op`: partial copy of pointer.
pub(super) fn pointer_copied_in_part() -> Vec<u64> {
    vec![copy_half(R2, R10), set(R0, 0), EXIT]
}

/// `check_cond_jmp_op`: pointer comparison prohibited.
pub(super) fn pointer_compared() -> Vec<u64> {
    vec![set(R0, 0), jump_if(R1, Equal, 5, 1), set(R0, 0), EXIT]
}

/// The same for two registers.
pub(super) fn pointers_compared() -> Vec<u64> {
    vec![set(R0, 0), jump_if_both(R1, Equal, R10, 1), set(R0, 0), EXIT]
}

/// `check_mem_access`: leaks addr into ctx.
pub(super) fn pointer_in_packet_notes() -> Vec<u64> {
    vec![store(Double, R1, SKB_CB, R10), set(R0, 0), EXIT]
}

/// `check_func_arg`: leaks addr into helper function.
pub(super) fn pointer_as_argument() -> Vec<u64> {
    vec![
        store_value(Double, R10, -8, 0),
        copy(R2, R10),
        copy(R3, R10),
        change(R3, Add, -8),
        set(R4, 4),
        call_helper(SKB_LOAD_BYTES),
        set(R0, 0),
        EXIT,
    ]
}

/// `check_stack_write_fixed_off`: attempt to corrupt spilled pointer on stack.
pub(super) fn pointer_overwritten() -> Vec<u64> {
    vec![store(Double, R10, -8, R1), store_value(Byte, R10, -8, 0), set(R0, 0), EXIT]
}

/// Builds a program that looks up the only value of the map, runs these instructions with its address in R0, and ends.
fn with_map_value(use_it: &[u64]) -> Vec<u64> {
    let mut program = vec![store_value(Word, R10, -4, 0), copy(R6, R1), copy(R2, R10), change(R2, Add, -4)];
    program.extend(the_map(R1));
    let over = i16::try_from(use_it.len()).unwrap_or(i16::MAX);
    program.extend([call_helper(MAP_LOOKUP_ELEM), jump_if(R0, Equal, 0, over)]);
    program.extend(use_it);
    program.extend([set(R0, 0), EXIT]);
    program
}

/// `check_mem_access`: leaks addr into map.
pub(super) fn pointer_in_map() -> Vec<u64> {
    with_map_value(&[store(Double, R0, 0, R10)])
}

/// `check_atomic_rmw` (6.12: `check_atomic`): leaks addr into mem.
pub(super) fn pointer_exchanged_in_map() -> Vec<u64> {
    with_map_value(&[copy(R2, R10), exchange(R0, 0, R2)])
}

/// `check_ptr_to_map_access`: access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN.
pub(super) fn map_description_read() -> Vec<u64> {
    let [map, rest] = the_map(R1);
    vec![map, rest, load(Double, R0, R1, 0), set(R0, 0), EXIT]
}

/// `check_stack_read_fixed_off`: invalid read from stack; applies without `allow_uninit_stack`, which is CAP_PERFMON.
pub(super) fn stack_read_before_written() -> Vec<u64> {
    vec![load(Double, R0, R10, -8), set(R0, 0), EXIT]
}

/// `check_stack_access_for_ptr_arithmetic`: variable stack access prohibited; applies without `bypass_spec_v1`, which
/// is CAP_PERFMON.
pub(super) fn stack_at_variable_place() -> Vec<u64> {
    vec![
        load(Word, R3, R1, SKB_LEN),
        change(R3, And, 8),
        change(R3, Sub, 16),
        copy(R2, R10),
        combine(R2, Add, R3),
        store_value(Byte, R2, 0, 0),
        set(R0, 0),
        EXIT,
    ]
}

/// `sanitize_ptr_alu`: unknown scalar with mixed signed bounds; applies without `bypass_spec_v1`.
pub(super) fn offset_of_either_sign() -> Vec<u64> {
    with_map_value(&[
        load(Word, R3, R6, SKB_LEN),
        change(R3, And, 15),
        change(R3, Sub, 8),
        change(R0, Add, 32),
        combine(R0, Add, R3),
    ])
}

/// Reads only if the length is 0, and then R6 is a pointer. A CPU that mispredicts the last jump would dereference a
/// number. Without `bypass_spec_v1`, `check_cond_jmp_op` also checks that path: 6.12 refuses the program for it, later
/// kernels insert a barrier (`error_recoverable_with_nospec`, since 6.17).
pub(super) fn speculation() -> Vec<u64> {
    vec![
        store_value(Double, R10, -8, 0),
        load(Word, R1, R1, SKB_LEN),
        jump_if(R1, Equal, 0, 2),
        set(R6, 0),
        jump(1),
        copy(R6, R10),
        set(R0, 0),
        jump_if(R1, NotEqual, 0, 1),
        load(Double, R0, R6, -8),
        set(R0, 0),
        EXIT,
    ]
}

/// `push_insn` (7.3: `kernel/bpf/cfg.c`): back-edge; applies without CAP_BPF. Without `bypass_spec_v1`, which is
/// CAP_PERFMON, the verifier also walks the last jump as if it were taken once more, and that walk never ends:
/// `is_state_visited` reports an infinite loop.
pub(super) fn bounded_loop() -> Vec<u64> {
    vec![set(R0, 0), change(R0, Add, 1), jump_if(R0, Below, 8, -2), set(R0, 0), EXIT]
}

/// The same check.
pub(super) fn perhaps_loop() -> Vec<u64> {
    vec![set(R0, 0), jump_perhaps(1), jump(-2), set(R0, 0), EXIT]
}

/// `add_subprog_and_kfunc`: loading/calling other bpf or kernel functions are allowed for CAP_BPF.
pub(super) fn function_call() -> Vec<u64> {
    vec![call_function(1), EXIT, set(R0, 0), EXIT]
}

/// `bpf_prog_load` (`kernel/bpf/syscall.c`): more than `BPF_MAXINSNS` instructions need CAP_BPF.
pub(super) fn large_program() -> Vec<u64> {
    let mut program = vec![set(R0, 0); 4096];
    program.push(EXIT);
    program
}

/// `cg_skb_is_valid_access` (`net/core/filter.c`): needs CAP_BPF.
pub(super) fn packet_data() -> Vec<u64> {
    vec![load(Word, R2, R1, SKB_DATA), set(R0, 1), EXIT]
}

/// The same with the end of the packet.
pub(super) fn packet_end() -> Vec<u64> {
    vec![load(Word, R2, R1, SKB_DATA_END), set(R0, 1), EXIT]
}

/// The same function: writing this member needs CAP_BPF.
pub(super) fn packet_time() -> Vec<u64> {
    vec![set(R2, 0), store(Double, R1, SKB_TSTAMP, R2), set(R0, 1), EXIT]
}

/// The same function: writing this member needs nothing.
pub(super) fn packet_mark() -> Vec<u64> {
    vec![set(R2, 0), store(Word, R1, SKB_MARK, R2), set(R0, 1), EXIT]
}

/// `add_subprog_and_kfunc` (7.3: `add_kfuncs`): loading/calling other bpf or kernel functions are allowed for CAP_BPF.
/// Programs of every type may call these functions (`common_btf_ids` in `kernel/bpf/helpers.c`).
pub(super) fn kernel_function_call() -> Vec<u64> {
    vec![call_kernel(0), call_kernel(1), set(R0, 0), EXIT]
}

/// `check_kfunc_call`: is allowed only to CAP_PERFMON and CAP_SYS_ADMIN (`KF_PERFMON`). The return value is not used.
pub(super) fn kernel_function_of_perfmon() -> Vec<u64> {
    vec![set(R1, 0), call_kernel(0), set(R0, 0), EXIT]
}

/// `check_ptr_to_btf_access`: access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN.
pub(super) fn kernel_structure_read() -> Vec<u64> {
    vec![
        set(R1, 1),
        call_kernel(0),
        jump_if(R0, Equal, 0, 3),
        load(Double, R2, R0, 0),
        copy(R1, R0),
        call_kernel(1),
        set(R0, 1),
        EXIT,
    ]
}

/// `check_stack_write_fixed_off` keeps the known range of a number, here at most 7, only with CAP_BPF.
pub(super) fn number_kept_on_stack() -> Vec<u64> {
    with_map_value(&[
        load(Word, R3, R6, SKB_LEN),
        change(R3, And, 7),
        store(Double, R10, -16, R3),
        load(Double, R3, R10, -16),
        combine(R0, Add, R3),
        store_value(Byte, R0, 0, 1),
    ])
}

/// `get_constant_map_key`: with CAP_BPF, the verifier knows that the key is that of the only value, which always
/// exists.
pub(super) fn lookup_by_constant_key() -> Vec<u64> {
    let [map, rest] = the_map(R1);
    vec![
        store_value(Word, R10, -4, 0),
        copy(R2, R10),
        change(R2, Add, -4),
        map,
        rest,
        call_helper(MAP_LOOKUP_ELEM),
        store_value(Byte, R0, 0, 1),
        set(R0, 0),
        EXIT,
    ]
}

/// `resolve_pseudo_ldimm64` (7.3: `__add_used_map`): CAP_BPF and CAP_PERFMON are required to use arena.
pub(super) fn arena() -> Vec<u64> {
    let [map, rest] = the_map(R1);
    vec![map, rest, set(R0, 0), EXIT]
}

/// Allowed for everyone; without `bypass_spec_v4`, which is CAP_PERFMON, the kernel adds a barrier
/// (`sanitize_stack_spill`).
pub(super) fn pointer_kept_on_stack() -> Vec<u64> {
    vec![store(Double, R10, -8, R1), set(R0, 0), EXIT]
}

/// Allowed for everyone; with CAP_BPF, the kernel removes unreachable instructions (`opt_remove_dead_code`).
pub(super) fn branch_never_taken() -> Vec<u64> {
    vec![set(R0, 0), jump_if(R0, Equal, 0, 1), set(R0, 1), EXIT]
}

/// Allowed for everyone; the kernel masks the index of an array that was created without CAP_PERFMON in the initial
/// namespace (`array_map_gen_lookup` in `kernel/bpf/arraymap.c`).
pub(super) fn lookup() -> Vec<u64> {
    with_map_value(&[])
}
