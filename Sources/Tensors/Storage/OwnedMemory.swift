internal import CKernels

/// Fresh memory in huge pages, given back with its last holder.
@safe final class OwnedMemory: @unchecked Sendable {
    // Safe because: the caller that hands out parts of it says which thread writes which.
    let base: UnsafeMutableRawPointer
    private let byteCount: Int

    init(byteCount: Int) {
        self.byteCount = byteCount
        unsafe base = ck_allocate(byteCount)
    }

    deinit { unsafe ck_free(base, byteCount) }
}
