//! The two checksums that spread keys: CRC-16 as Redis Cluster computes slots, CRC-32 as zlib does.

const TABLE_16: [u16; 256] = table_16();
const TABLE_32: [u32; 256] = table_32();

/// Computes Redis Cluster's CRC-16 (XMODEM: polynomial 0x1021, start 0).
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, &byte| {
        let [high, low] = sum.to_be_bytes();
        u16::from_be_bytes([low, 0]) ^ TABLE_16[usize::from(high ^ byte)]
    })
}

/// Computes zlib's CRC-32.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32_of(&[bytes])
}

/// Computes zlib's CRC-32 of parts, as if they were one text.
pub(super) fn crc32_of(parts: &[&[u8]]) -> u32 {
    !parts.iter().copied().flatten().fold(u32::MAX, |sum, &byte| {
        let [low, ..] = sum.to_le_bytes();
        (sum >> 8) ^ TABLE_32[usize::from(low ^ byte)]
    })
}

const fn table_16() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index: u16 = 0;
    while index < 256 {
        let mut sum = index << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index as usize] = sum;
        index += 1;
    }
    table
}

const fn table_32() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut sum = index;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0xEDB8_8320 };
            bit += 1;
        }
        table[index as usize] = sum;
        index += 1;
    }
    table
}
