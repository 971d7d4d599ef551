//! Encodes instructions of BPF programs (RFC 9669).

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register(u64);

/// The return value of a call.
pub(super) const R0: Register = Register(0);
/// The context at the start, and the first argument of a call; the other arguments follow.
pub(super) const R1: Register = Register(1);
pub(super) const R2: Register = Register(2);
pub(super) const R3: Register = Register(3);
pub(super) const R4: Register = Register(4);
/// The first register that a call preserves.
pub(super) const R6: Register = Register(6);
/// The end of the stack frame.
pub(super) const R10: Register = Register(10);

/// The width of a memory access, as bits of the opcode.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Byte = 0x10,
    Word = 0x00,
    Double = 0x18,
}

/// An arithmetic operation, as bits of the opcode.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arithmetic {
    Add = 0x00,
    Sub = 0x10,
    And = 0x50,
    Neg = 0x80,
}

/// The condition of a jump, as bits of the opcode.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Equal = 0x10,
    NotEqual = 0x50,
    Below = 0xa0,
}

const fn encode(code: u64, dst: Register, src: Register, offset: i16, value: i32) -> u64 {
    code | dst.0 << 8 | src.0 << 12 | (offset.cast_unsigned() as u64) << 16 | (value.cast_unsigned() as u64) << 32
}

/// The encoding of an unused register.
const NONE: Register = Register(0);

/// `dst = value`.
pub(super) const fn set(dst: Register, value: i32) -> u64 {
    encode(0xb7, dst, NONE, 0, value)
}

/// `dst = src`.
pub(super) const fn copy(dst: Register, src: Register) -> u64 {
    encode(0xbf, dst, src, 0, 0)
}

/// The low half of `dst = src`; the high half becomes zero.
pub(super) const fn copy_half(dst: Register, src: Register) -> u64 {
    encode(0xbc, dst, src, 0, 0)
}

/// `dst = dst OP value`.
pub(super) const fn change(dst: Register, by: Arithmetic, value: i32) -> u64 {
    encode(0x07 | by as u64, dst, NONE, 0, value)
}

/// `dst = dst OP src`.
pub(super) const fn combine(dst: Register, by: Arithmetic, src: Register) -> u64 {
    encode(0x0f | by as u64, dst, src, 0, 0)
}

/// `dst = dst OP src` on the low halves.
pub(super) const fn combine_halves(dst: Register, by: Arithmetic, src: Register) -> u64 {
    encode(0x0c | by as u64, dst, src, 0, 0)
}

/// `dst = *(size *)(src + offset)`.
pub(super) const fn load(size: Size, dst: Register, src: Register, offset: i16) -> u64 {
    encode(0x61 | size as u64, dst, src, offset, 0)
}

/// `*(size *)(dst + offset) = src`.
pub(super) const fn store(size: Size, dst: Register, offset: i16, src: Register) -> u64 {
    encode(0x63 | size as u64, dst, src, offset, 0)
}

/// `*(size *)(dst + offset) = value`.
pub(super) const fn store_value(size: Size, dst: Register, offset: i16, value: i32) -> u64 {
    encode(0x62 | size as u64, dst, NONE, offset, value)
}

/// Exchanges the eight bytes at `dst + offset` with `src`.
pub(super) const fn exchange(dst: Register, offset: i16, src: Register) -> u64 {
    encode(0xdb, dst, src, offset, 0xe1)
}

/// Jumps over this number of instructions, or back if negative, counted from the next one.
pub(super) const fn jump(over: i16) -> u64 {
    encode(0x05, NONE, NONE, over, 0)
}

/// A [`jump`] if `dst` compares with a value in this way.
pub(super) const fn jump_if(dst: Register, when: When, value: i32, over: i16) -> u64 {
    encode(0x05 | when as u64, dst, NONE, over, value)
}

/// A [`jump`] if `dst` compares with `src` in this way.
pub(super) const fn jump_if_both(dst: Register, when: When, src: Register, over: i16) -> u64 {
    encode(0x0d | when as u64, dst, src, over, 0)
}

/// Jumps until the kernel ends the loop (`may_goto`, since 6.9).
pub(super) const fn jump_perhaps(over: i16) -> u64 {
    encode(0xe5, NONE, NONE, over, 0)
}

/// Calls a helper by its number.
pub(super) const fn call_helper(id: i32) -> u64 {
    encode(0x85, NONE, NONE, 0, id)
}

/// Calls a kernel function, by its index in the feature's list; the guest fills in its number.
pub(super) const fn call_kernel(index: i32) -> u64 {
    encode(0x85, NONE, Register(2), 0, index)
}

/// Calls a function of the program, by its distance from the next instruction.
pub(super) const fn call_function(over: i32) -> u64 {
    encode(0x85, NONE, Register(1), 0, over)
}

/// `dst` = the program's map, whose descriptor the guest fills in. Two instructions.
pub(super) const fn the_map(dst: Register) -> [u64; 2] {
    [encode(0x18, dst, Register(1), 0, 0), 0]
}

/// Ends the function.
pub(super) const EXIT: u64 = encode(0x95, NONE, NONE, 0, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_in_the_standard() {
        let written = [
            (set(R1, -2), [0xb7, 0x01, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
            (copy(R2, R10), [0xbf, 0xa2, 0, 0, 0, 0, 0, 0]),
            (copy_half(R2, R10), [0xbc, 0xa2, 0, 0, 0, 0, 0, 0]),
            (change(R2, Arithmetic::Add, -8), [0x07, 0x02, 0, 0, 0xf8, 0xff, 0xff, 0xff]),
            (change(R0, Arithmetic::Neg, 0), [0x87, 0x00, 0, 0, 0, 0, 0, 0]),
            (combine(R0, Arithmetic::Sub, R1), [0x1f, 0x10, 0, 0, 0, 0, 0, 0]),
            (combine_halves(R0, Arithmetic::Sub, R1), [0x1c, 0x10, 0, 0, 0, 0, 0, 0]),
            (load(Size::Double, R0, R10, -8), [0x79, 0xa0, 0xf8, 0xff, 0, 0, 0, 0]),
            (load(Size::Word, R0, R1, 4), [0x61, 0x10, 4, 0, 0, 0, 0, 0]),
            (store(Size::Byte, R10, -8, R1), [0x73, 0x1a, 0xf8, 0xff, 0, 0, 0, 0]),
            (store_value(Size::Double, R10, -8, 1), [0x7a, 0x0a, 0xf8, 0xff, 1, 0, 0, 0]),
            (exchange(R10, -8, R2), [0xdb, 0x2a, 0xf8, 0xff, 0xe1, 0, 0, 0]),
            (jump(-1), [0x05, 0, 0xff, 0xff, 0, 0, 0, 0]),
            (jump_if(R0, When::Below, 8, -2), [0xa5, 0, 0xfe, 0xff, 8, 0, 0, 0]),
            (jump_if_both(R1, When::Equal, R10, 1), [0x1d, 0xa1, 1, 0, 0, 0, 0, 0]),
            (call_helper(1), [0x85, 0, 0, 0, 1, 0, 0, 0]),
            (call_function(2), [0x85, 0x10, 0, 0, 2, 0, 0, 0]),
            (call_kernel(1), [0x85, 0x20, 0, 0, 1, 0, 0, 0]),
            (the_map(R1)[0], [0x18, 0x11, 0, 0, 0, 0, 0, 0]),
            (EXIT, [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (instruction, bytes) in written {
            assert_eq!(instruction.to_le_bytes(), bytes);
        }
    }
}
