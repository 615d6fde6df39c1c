internal import CKernels

extension Tensor {
    /// A copy whose values went through e4m3 with one scale per row and 128 columns.
    public func roundedToFloat8Rows(pool: ThreadPool) -> Tensor {
        let result = Tensor(unfilledRows: rows, columns: columns)
        pool.split(rows) { range in
            let scales = (columns + 127) / 128
            unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: columns) { bytes in
                unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: scales) { factors in
                    guard let bytes = bytes.baseAddress, let factors = factors.baseAddress else {
                        return
                    }
                    for row in range {
                        let from = unsafe base + row * columns
                        unsafe ck_e4m3_encode(from, bytes, factors, columns, false)
                        unsafe ck_e4m3_decode(bytes, factors, result.base + row * columns, columns)
                    }
                }
            }
        }
        return result
    }

    /// A copy whose values went through e4m3 with one scale per 128x128 block.
    public func roundedToFloat8Blocks(pool: ThreadPool) -> Tensor {
        let result = Tensor(unfilledRows: rows, columns: columns)
        let blockRows = (rows + 127) / 128
        pool.split(blockRows) { range in
            let scales = (columns + 127) / 128
            unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 128 * columns) { bytes in
                unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: scales) { factors in
                    guard let bytes = bytes.baseAddress, let factors = factors.baseAddress else {
                        return
                    }
                    for block in range {
                        let count = Int32(min(128, rows - block * 128))
                        let place = block * 128 * columns
                        let width = Int32(columns)
                        unsafe ck_e4m3_encode_blocks(
                            base + place, count, width, bytes, factors, false)
                        unsafe ck_e4m3_decode_blocks(
                            bytes, factors, count, width, result.base + place)
                    }
                }
            }
        }
        return result
    }
}
