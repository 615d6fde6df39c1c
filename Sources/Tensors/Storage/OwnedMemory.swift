internal import CKernels

/// Memory in huge pages that nobody has touched, given back with its last holder.
@safe final class OwnedMemory: @unchecked Sendable {
    // Safe because: whoever hands out parts of it says which thread writes which.
    let base: UnsafeMutableRawPointer
    private let byteCount: Int

    init(byteCount: Int) {
        self.byteCount = byteCount
        unsafe base = ck_allocate(byteCount)
    }

    deinit { unsafe ck_free(base, byteCount) }
}
