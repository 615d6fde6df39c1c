import Glibc
import Testing
import Topology

@testable import Transport

@Suite struct SocketTests {
    /// A core alone, and what a test needs to play the others.
    private struct Lonely {
        let core: SocketCore
        let lost = LostRanks()
        let window: RegisteredWindow
        let control: ControlBlock

        init(rank: Int, of rankCount: Int) throws {
            control = ControlBlock(
                try Region(named: "control", byteCount: ControlBlock.byteCount), clock: .system)
            core = try SocketCore(
                rank: Rank(rawValue: rank), rankCount: rankCount, devices: ["lo"],
                outside: EngineOutside(lostRanks: lost, control: control, clock: .system))
            let region = try Region(
                named: "w",
                byteCount: WindowMemory.regionByteCount(byteCount: 4096, signalCount: 4))
            window = RegisteredWindow(
                identifier: 0,
                memory: WindowMemory(region: region, byteCount: 4096, signalCount: 4), staging: nil)
            _ = try core.register(window)
        }

        var addresses: SocketAddresses {
            get throws { try SocketAddresses(decoding: core.address(), from: 0) }
        }
    }

    private static let impostorKey: UInt64 = 77

    /// Connects to a core of rank 0 as rank 1 would, after `intruders` had their try.
    private func impersonate(
        _ lonely: Lonely,
        intruders: @escaping @Sendable (NetworkEndpoint) throws(TransportError) -> [StreamSocket] =
            { _ in [] }
    ) throws -> StreamSocket {
        let addresses = try lonely.addresses
        let sockets = ThreadResults<[StreamSocket]>(count: 1)
        let thread = try FabricThread("rank 1") {
            sockets.store(0) { () throws(TransportError) in
                let deadline = Deadline(.seconds(20), "test")
                let endpoint = try NetworkEndpoint(addresses.planes[0][0])
                let others = try intruders(endpoint)
                let socket = try StreamSocket.connect(to: endpoint, deadline: deadline)
                try socket.sendAll(
                    SocketGreeting(rank: 1, plane: 0, key: addresses.key).encoded(),
                    deadline: deadline)
                let answer = try SocketGreeting(
                    decoding: try socket.receiveAll(SocketGreeting.byteCount, deadline: deadline))
                #expect(answer == SocketGreeting(rank: 0, plane: 0, key: Self.impostorKey))
                return [socket] + others
            }
        }
        let theirs = SocketAddresses(
            key: Self.impostorKey, place: NodeIdentity.current(), planes: [["127.0.0.1:1"]])
        try lonely.core.connect([1: theirs.encoded()], deadline: Deadline(.seconds(20), "join"))
        thread.join()
        return try sockets.all()[0][0]
    }

    private func header(_ core: SocketCore, _ change: (inout PutHeader) -> Void) -> PutHeader {
        var header = PutHeader(.put, source: 1, key: core.key)
        header.sequence = 1
        header.length = 64
        header.signal = 2
        header.value = 9
        change(&header)
        return header
    }

    private func progress(_ core: SocketCore, until isDone: () -> Bool) -> Bool {
        let deadline = Deadline(.seconds(20), "test")
        while !isDone() {
            if deadline.hasPassed { return false }
            if !core.progress() { usleep(200) }
        }
        return true
    }

    @Test func `a put that comes byte by byte lands before its signal`() throws {
        let lonely = try Lonely(rank: 0, of: 2)
        let socket = try impersonate(lonely)
        let bytes = header(lonely.core) { $0.offset = 128 }.encoded() + (0 ..< 64).map { UInt8($0) }
        for byte in bytes {
            #expect(lonely.window.memory.signal(2) == 0)
            try socket.sendAll([byte], deadline: Deadline(.seconds(20), "test"))
            _ = lonely.core.progress()
        }
        #expect(progress(lonely.core) { lonely.window.memory.signal(2) == 9 })
        lonely.window.memory.withBytes(128 ..< 192) { landed in
            for index in 0 ..< 64 {
                #expect(unsafe landed.unsafeLoad(fromByteOffset: index, as: UInt8.self) == index)
            }
        }
        lonely.core.closeAll()
    }

    @Test(arguments: [
        ("64 bytes at 4033 of a window of 4096", 0), ("a length of", 1), ("signal 4 of 4", 2),
        ("a put into window 1 of 1", 3), ("another rank's key", 4), ("a header of rank 0", 5),
        ("put number 0 twice or out of reach", 6), ("bytes that are no header", 7),
        ("64 bytes with no put", 8),
    ])
    func `a rank that sends what cannot be is lost, and it is said why`(
        fact: String, kind: Int
    ) throws {
        let lonely = try Lonely(rank: 0, of: 2)
        let socket = try impersonate(lonely)
        let bad = header(lonely.core) { header in
            switch kind {
            case 0: header.offset = 4033
            case 1: header.length = .max
            case 2: header.signal = 4
            case 3: header.window = 1
            case 4: header.key ^= 1
            case 5: header.source = 0
            case 6: header.sequence = 0
            case 8: header.kind = .heartbeat
            default: break
            }
        }
        var bytes = bad.encoded() + [UInt8](repeating: 1, count: 64)
        if kind == 7 { bytes[0] ^= 1 }
        try socket.sendAll(bytes, deadline: Deadline(.seconds(20), "test"))
        #expect(progress(lonely.core) { lonely.lost.contains(1) })
        let loss = lonely.lost.ending(waitFor: [1])
        #expect(loss?.cause.contains(fact) == true, "\(loss?.cause ?? "")")
        #expect(lonely.window.memory.signal(2) == 0)
        #expect(lonely.core.liveRanks.isEmpty)
        lonely.core.closeAll()
    }

    @Test func `a put into a released window goes nowhere, and the next one lands`() throws {
        let lonely = try Lonely(rank: 0, of: 2)
        let core = lonely.core
        _ = try core.register(
            RegisteredWindow(identifier: 1, memory: lonely.window.memory, staging: nil))
        let socket = try impersonate(lonely)
        core.release(window: 1)
        let long = header(core) {
            $0.window = 1
            $0.length = 1 << 20
        }
        let next = header(core) { $0.sequence = 2 }
        let bytes =
            long.encoded() + [UInt8](repeating: 5, count: 1 << 20) + next.encoded()
            + [UInt8](repeating: 6, count: 64)
        let thread = try FabricThread("send") {
            try? socket.sendAll(bytes, deadline: Deadline(.seconds(20), "test"))
        }
        #expect(progress(core) { lonely.window.memory.signal(2) == 9 })
        thread.join()
        #expect(lonely.lost.isEmpty)
        core.closeAll()
    }

    @Test func `intruders at the join are ignored, and the rank is let in`() throws {
        let lonely = try Lonely(rank: 0, of: 2)
        let key = lonely.core.key
        let listener = try NetworkEndpoint(lonely.addresses.planes[0][0])
        let socket = try impersonate(lonely) { (endpoint) throws(TransportError) in
            let deadline = Deadline(.seconds(20), "test")
            let greetings: [[UInt8]] = [
                [], [1, 2, 3], [UInt8](repeating: 0xff, count: 4096),
                SocketGreeting(rank: 1, plane: 0, key: key ^ 1).encoded(),
                SocketGreeting(rank: 0, plane: 0, key: key).encoded(),
                SocketGreeting(rank: 7, plane: 0, key: key).encoded(),
                SocketGreeting(rank: .max, plane: .max, key: key).encoded(),
                SocketGreeting(rank: 1, plane: 1, key: key).encoded(),
            ]
            var intruders: [StreamSocket] = []
            for greeting in greetings {
                let intruder = try StreamSocket.connect(to: endpoint, deadline: deadline)
                try intruder.sendAll(greeting, deadline: deadline)
                intruders.append(intruder)
            }
            return intruders
        }
        // After the join nobody is listened to.
        #expect(throws: TransportError.self) {
            try StreamSocket.connect(to: listener, deadline: Deadline(.zero, "late"))
        }
        #expect(lonely.core.liveRanks == [1])
        withExtendedLifetime(socket) {}
        lonely.core.closeAll()
    }

    @Test func `a rank whose connection ends is lost, and not if it said goodbye`() throws {
        for saysGoodbye in [false, true] {
            let lonely = try Lonely(rank: 0, of: 2)
            var socket: StreamSocket? = try impersonate(lonely)
            if saysGoodbye {
                let goodbye = PutHeader(.goodbye, source: 1, key: lonely.core.key).encoded()
                try socket?.sendAll(goodbye, deadline: Deadline(.seconds(20), "test"))
                #expect(progress(lonely.core) { lonely.lost.hasLeft(1) })
            }
            socket = nil
            #expect(progress(lonely.core) { lonely.core.liveRanks.isEmpty })
            #expect(lonely.lost.contains(1) == !saysGoodbye)
            lonely.core.closeAll()
        }
    }

    @Test func `a rank that nobody answers for is named with what became of its addresses`() throws
    {
        let lonely = try Lonely(rank: 1, of: 2)
        let gone = SocketAddresses(
            key: 1, place: NodeIdentity.current(), planes: [["127.0.0.1:1", "127.0.0.2:1"]])
        let error = #expect(throws: TransportError.self) {
            try lonely.core.connect(
                [0: gone.encoded()], deadline: Deadline(.seconds(20), "join"))
        }
        #expect(error?.rank == 0)
        let text = error?.description ?? ""
        #expect(text.contains("connect to 127.0.0.1:1") && text.contains("127.0.0.2:1"), "\(text)")
    }

    @Test func `addresses that may lead to a rank come in the order of likelihood`() {
        let said = SocketAddresses(
            key: 1, place: "there",
            planes: [["127.0.0.1:5", "172.17.0.1:5", "192.168.3.4:5", "10.1.0.2:5", "[fd00::2]:5"]])
        let ours = ["127.0.0.1", "172.17.0.1", "10.1.0.1"]
        #expect(
            said.candidates(plane: 0, from: "here", ours: ours)
                == ["10.1.0.2:5", "192.168.3.4:5", "[fd00::2]:5"])
        let near = said.candidates(plane: 0, from: "there", ours: ours)
        #expect(near.first == "127.0.0.1:5" && near.count == 5)
    }
}

@Suite struct PutStreamTests {
    /// Takes everything in, as far as it lies in a window of 64 KiB.
    private final class Sink: PutSink {
        let region: Region
        var landed: [UInt64] = []

        init() throws { region = try Region(named: "sink", byteCount: 1 << 16) }

        func place(_ header: PutHeader, on rail: Int) throws(PutFault) -> PutPlace {
            let isKnown = header.window == 0
            return unsafe PutPlace(
                target: isKnown ? region.base + Int(header.offset) : nil, memory: region)
        }

        func landed(_ header: PutHeader, on rail: Int) throws(PutFault) {
            landed.append(header.sequence)
        }
    }

    @Test func `however its bytes are cut, a stream brings the same puts`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        for _ in 0 ..< 100 {
            let sink = try Sink()
            var stream = PutStream(rail: 0)
            var sent: [UInt8] = []
            var wanted = [UInt8](repeating: 0, count: 1 << 16)
            let count = UInt64.random(in: 1 ... 30, using: &random)
            for sequence in 1 ... count {
                var header = PutHeader(.put, source: 0, key: 0)
                header.sequence = sequence
                header.window = Int.random(in: 0 ... 5, using: &random) == 0 ? 1 : 0
                let length =
                    Int.random(in: 0 ... 40_000, using: &random)
                    >> Int.random(
                        in: 0 ... 14, using: &random)
                header.length = UInt64(length)
                let offset = Int.random(in: 0 ... (1 << 16) - length, using: &random)
                header.offset = UInt64(offset)
                let body = [UInt8](repeating: UInt8(sequence), count: length)
                if header.window == 0 {
                    wanted.replaceSubrange(offset ..< offset + length, with: body)
                }
                sent += header.encoded() + body
            }
            var position = 0
            while position < sent.count {
                let most = Int.random(in: 1 ... 50_000, using: &random)
                position += try give(sent[position...].prefix(most), to: &stream, sink)
            }
            #expect(sink.landed == Array(1 ... count), "seed \(seed)")
            let got = unsafe Array(
                UnsafeRawBufferPointer(start: sink.region.base, count: wanted.count))
            #expect(got == wanted, "seed \(seed)")
        }
    }

    /// Copies to where the stream wants it, as the kernel does; returns how much.
    private func give(
        _ bytes: ArraySlice<UInt8>, to stream: inout PutStream, _ sink: Sink
    ) throws -> Int {
        var given = 0
        unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
            let (count, _) = unsafe stream.vectors(into: vectors, limit: 3000)
            for index in 0 ..< count {
                let vector = unsafe vectors[index]
                let here = min(unsafe vector.iov_len, bytes.count - given)
                unsafe bytes.withUnsafeBytes { source in
                    if here > 0 {
                        unsafe memcpy(vector.iov_base, source.baseAddress! + given, here)
                    }
                }
                given += here
            }
        }
        try stream.took(given, sink)
        return given
    }
}

@Suite struct SendQueueTests {
    @Test func `what a queue gathers is what was put into it, however it is taken`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        let region = try Region(named: "staging", byteCount: 1 << 16)
        for index in 0 ..< 1 << 16 {
            unsafe region.base.storeBytes(
                of: UInt8(truncatingIfNeeded: index &* 7), toByteOffset: index, as: UInt8.self)
        }
        var queue = SendQueue()
        var wanted: [UInt8] = []
        var got: [UInt8] = []
        var appended = 0
        var ended = 0
        while appended < 3000 || !queue.isEmpty {
            if appended < 3000, queue.freeCount > 0, Bool.random(using: &random) {
                var header = PutHeader(.put, source: 1, key: 2)
                header.sequence = UInt64(appended)
                let count = Int.random(in: 0 ... 300, using: &random)
                let start = Int.random(in: 0 ... (1 << 16) - count, using: &random)
                unsafe queue.append(
                    header, count == 0 ? nil : UnsafeRawPointer(region.base + start), count,
                    region, isCounted: true)
                wanted += header.encoded()
                wanted += (start ..< start + count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
                appended += 1
                continue
            }
            let limit = Int.random(in: 1 ... 5000, using: &random)
            let bytes = gathered(queue, limit: limit)
            let taken = bytes.prefix(Int.random(in: 0 ... bytes.count, using: &random))
            got += taken
            ended += queue.took(taken.count)
        }
        #expect(got == wanted && ended == 3000, "seed \(seed)")
    }

    private func gathered(_ queue: borrowing SendQueue, limit: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 8) { vectors in
            let (count, total) = unsafe queue.gather(into: vectors, limit: limit)
            for index in 0 ..< count {
                unsafe bytes.append(
                    contentsOf: UnsafeRawBufferPointer(
                        start: vectors[index].iov_base, count: vectors[index].iov_len))
            }
            #expect(bytes.count == total)
        }
        return bytes
    }
}
