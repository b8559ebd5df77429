//! Numbers in a header of known size, by their offset. That a field lies within the header is checked at compile time.

/// 16 bits, little-endian, at `AT`.
#[inline]
pub(super) fn le16<const AT: usize, const LEN: usize>(head: &[u8; LEN]) -> u16 {
    const { assert!(AT + 2 <= LEN) };
    u16::from_le_bytes([head[AT], head[AT + 1]])
}

/// 32 bits, little-endian, at `AT`.
#[inline]
pub(super) fn le32<const AT: usize, const LEN: usize>(head: &[u8; LEN]) -> u32 {
    const { assert!(AT + 4 <= LEN) };
    u32::from_le_bytes([head[AT], head[AT + 1], head[AT + 2], head[AT + 3]])
}

/// 64 bits, little-endian, at `AT`.
#[inline]
pub(super) fn le64<const AT: usize, const LEN: usize>(head: &[u8; LEN]) -> u64 {
    const { assert!(AT + 8 <= LEN) };
    let mut field = [0; 8];
    field.copy_from_slice(&head[AT..AT + 8]);
    u64::from_le_bytes(field)
}

/// 64 bits, big-endian, at `AT`.
#[inline]
pub(super) fn be64<const AT: usize, const LEN: usize>(head: &[u8; LEN]) -> u64 {
    le64::<AT, LEN>(head).swap_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_where_they_lie() {
        let head = [0xFF, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(le16::<1, _>(&head), 0x0201);
        assert_eq!(le32::<1, _>(&head), 0x0403_0201);
        assert_eq!(le64::<1, _>(&head), 0x0807_0605_0403_0201);
        assert_eq!(be64::<1, _>(&head), 0x0102_0304_0506_0708);
    }
}
