/**
 * CRC-32C (Castagnoli), eight bytes at a time (Kounavis and Berry, "slicing-by-8"). Node has only
 * the other CRC-32.
 */
const polynomial = 0x82f63b78
const slices = 8

/** Table k, of 256: what a byte that is followed by k others adds. */
const tables = new Int32Array(slices * 256)
for (let byte = 0; byte < 256; byte += 1) {
  let crc = byte
  for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0)
  tables[byte] = crc
}
for (let i = 256; i < tables.length; i += 1) {
  const before = tables[i - 256]
  tables[i] = (before >>> 8) ^ tables[before & 0xff]
}

/** As a signed number of 32 bits. */
export function crc32c(bytes: Uint8Array): number {
  let crc = -1
  let at = 0
  for (const end = bytes.length - 7; at < end; at += slices) {
    const low =
      crc ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24))
    crc =
      tables[1792 + (low & 0xff)] ^
      tables[1536 + ((low >>> 8) & 0xff)] ^
      tables[1280 + ((low >>> 16) & 0xff)] ^
      tables[1024 + (low >>> 24)] ^
      tables[768 + bytes[at + 4]] ^
      tables[512 + bytes[at + 5]] ^
      tables[256 + bytes[at + 6]] ^
      tables[bytes[at + 7]]
  }
  for (; at < bytes.length; at += 1) crc = tables[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8)
  return ~crc
}
