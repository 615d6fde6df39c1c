import CFabric
import Glibc
import Topology

/// Memory that other ranks of the node can map.
///
/// An anonymous file: it has no name in `/dev/shm`, so nothing is left behind however the process
/// ends, and it is not limited by the size of that mount.
///
/// Safe because the address and the size never change, and the bytes are ordered by signals.
@safe final class Region: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    private(set) var descriptor: Int32

    /// Makes zeroed memory, taken from the system when it is first touched.
    init(named name: String, byteCount: Int) throws(TransportError) {
        let rounded = Self.roundedToPages(max(byteCount, 1))
        guard rounded <= Self.nodeMemory else {
            throw .limit(
                "bytes of \(name)", value: byteCount, limit: Self.nodeMemory,
                origin: "memory of this node")
        }
        let descriptor = unsafe fabric_memfd("apus-\(name)")
        guard descriptor >= 0 else { throw .system("memfd_create") }
        guard ftruncate(descriptor, rounded) == 0 else {
            let error = TransportError.system("ftruncate of \(name) to \(rounded) bytes")
            Glibc.close(descriptor)
            throw error
        }
        do {
            unsafe base = try Self.map(descriptor, rounded)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        self.byteCount = rounded
        self.descriptor = descriptor
    }

    /// Maps what a rank's process (or this one) made and still holds open.
    init(
        of rank: Rank, process: Int32, descriptor: Int32, byteCount: Int
    ) throws(TransportError) {
        let path = "/proc/\(process)/fd/\(descriptor)"
        let opened = unsafe open(path, O_RDWR | O_CLOEXEC)
        guard opened >= 0 else {
            let error = TransportError.system("open \(path)")
            guard Self.hasEnded(process) else { throw error }
            throw .rankLost(rank, phase: "connect", cause: "its process \(process) has ended")
        }
        defer { Glibc.close(opened) }
        let rounded = Self.roundedToPages(max(byteCount, 1))
        var status = stat()
        guard unsafe fstat(opened, &status) == 0 else { throw .system("fstat \(path)") }
        guard status.st_size >= rounded else {
            throw .malformed(
                from: "process \(process)",
                "window of \(rounded) bytes announced, \(status.st_size) there")
        }
        unsafe base = try Self.map(opened, rounded)
        self.byteCount = rounded
        self.descriptor = -1
    }

    /// Whether a process has ended, though its parent may not know it yet.
    private static func hasEnded(_ process: Int32) -> Bool {
        let descriptor = fabric_pidfd(process)
        guard descriptor >= 0 else { return errno == ESRCH }
        defer { Glibc.close(descriptor) }
        var end = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&end, 1, 0) == 1
    }

    deinit {
        unsafe munmap(base, byteCount)
        closeDescriptor()
    }

    /// Ends the time in which others may map it; they have.
    func closeDescriptor() {
        guard descriptor >= 0 else { return }
        Glibc.close(descriptor)
        descriptor = -1
    }

    private static func map(
        _ descriptor: Int32, _ byteCount: Int
    ) throws(TransportError) -> UnsafeMutableRawPointer {
        let address = unsafe mmap(
            nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw .system("mmap of \(byteCount) bytes")
        }
        return unsafe address
    }

    static func roundedToPages(_ byteCount: Int) -> Int { (byteCount + 4095) & ~4095 }

    static let nodeMemory = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
}
