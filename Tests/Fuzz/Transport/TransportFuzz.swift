import FuzzSupport
import Glibc
import Topology

@testable import Transport

/// Feeds bytes to every decoder of Transport: what ranks, a rendezvous and unauthenticated
/// connections may send.
///
/// Whatever the bytes: no trap, what is taken survives being written and read, and what a put
/// header promises lies inside its window.
private func fuzzTransport(_ input: [UInt8]) {
    guard let kind = input.first else { return }
    let bytes = Array(input.dropFirst())
    switch kind % 11 {
    case 0: fuzzPut(bytes)
    case 1: fuzzHello(bytes)
    case 2: fuzzOffer(bytes)
    case 3: fuzzJoin(bytes)
    case 4: fuzzFrame(bytes)
    case 5: fuzzGreeting(bytes)
    case 6: fuzzOrder(bytes)
    case 7: fuzzFile(bytes)
    case 8: fuzzStream(bytes, isBuilt: false)
    case 9: fuzzStream(bytes, isBuilt: true)
    default: fuzzAddresses(bytes)
    }
}

private func fuzzPut(_ bytes: [UInt8]) {
    guard let header = PutHeader(decoding: Array(bytes.prefix(PutHeader.byteCount))) else { return }
    precondition(PutHeader(decoding: header.encoded()) == header)
    let window = WindowSize(byteCount: 4096, signalCount: 7)
    let count = Int(truncatingIfNeeded: header.length & 0xffff)
    guard header.fault(byteCount: count, window: window) == nil else { return }
    precondition(Int(header.offset) + count <= window.byteCount)
    precondition(header.signal == PutHeader.noSignal || header.signal < 7)
}

private func fuzzHello(_ bytes: [UInt8]) {
    guard let hello = try? RankHello(decoding: bytes, from: 3) else { return }
    precondition(hello.encoded() == bytes)
}

private func fuzzOffer(_ bytes: [UInt8]) {
    guard let offer = try? WindowOffer(decoding: bytes, from: 3) else { return }
    precondition(offer.encoded() == bytes)
}

private func fuzzJoin(_ bytes: [UInt8]) {
    guard let token = try? RendezvousToken("secret") else { return }
    let greeting = RendezvousGreeting()
    if let other = try? RendezvousGreeting(decoding: bytes, from: "f") {
        precondition(other.encoded() == bytes)
    }
    let request = try? JoinRequest(
        decoding: bytes, expecting: token, greeting: greeting, rankCount: 4)
    precondition(request == nil, "random bytes proved to have the token")
}

private func fuzzFrame(_ bytes: [UInt8]) {
    guard
        let (kind, count) = try? RendezvousFrame.header(
            Array(bytes.prefix(RendezvousFrame.headerBytes)), from: "f",
            limit: RendezvousFrame.limit(rankCount: 2))
    else { return }
    let body = bytes.dropFirst(RendezvousFrame.headerBytes)
    guard body.count == count else { return }
    guard let frame = try? RendezvousFrame(kind: kind, body: body, from: "f", rankCount: 2) else {
        return
    }
    let again = frame.encoded()
    let copy = try? RendezvousFrame(
        kind: kind, body: again[RendezvousFrame.headerBytes...], from: "f", rankCount: 2)
    precondition(copy == frame)
}

private func fuzzGreeting(_ bytes: [UInt8]) {
    guard let greeting = try? VerbsGreeting(decoding: bytes) else { return }
    precondition(greeting.encoded() == Array(bytes.prefix(VerbsGreeting.byteCount)))
}

private func fuzzFile(_ bytes: [UInt8]) {
    guard let file = try? FileBlob(decoding: bytes, from: 3) else { return }
    precondition(file.encoded() == bytes && file.blob.count <= bytes.count)
}

/// The addresses by which engines connect, read as their `connect` and `learn` read them.
private func fuzzAddresses(_ bytes: [UInt8]) {
    if let said = try? SocketAddresses(decoding: bytes, from: 3) {
        precondition(said.encoded() == bytes)
        let found = said.candidates(plane: 0, from: "here", ours: ["10.0.0.1"])
        precondition(found.count <= SocketAddresses.candidateLimit)
    }
    if let said = try? SocketGreeting(decoding: bytes) { precondition(said.encoded() == bytes) }
    var rails = WireReader(bytes, from: "f")
    if let count = try? rails.count("rail count", in: 1 ... 64) {
        precondition((1 ... 64).contains(count))
        for _ in 0 ..< count {
            guard (try? rails.integer(UInt64.self, "key")) != nil,
                let worker = try? rails.blob("worker address", limit: ExchangeLimit.blobBytes)
            else { break }
            precondition(worker.count <= bytes.count)
        }
        try? rails.finish()
    }
    var verbs = WireReader(bytes, from: "f")
    guard (try? verbs.integer(UInt64.self, "key")) != nil,
        let host = try? verbs.text("address", limit: 64)
    else { return }
    precondition(host.utf8.count <= 64)
    _ = try? verbs.integer(UInt16.self, "port")
    try? verbs.finish()
}

/// A window as small as the pages that the sanitizer guards, and a count of what landed in it.
private final class FuzzWindow: PutSink {
    static let byteCount = 4096
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
    var landed: [PutHeader] = []
    var placed = 0

    deinit { bytes.deallocate() }

    func place(_ header: PutHeader, on rail: Int) throws(PutFault) -> PutPlace {
        precondition(rail == 5)
        placed += 1
        guard header.kind == .put else { return PutPlace() }
        // As a released window: its bytes go nowhere.
        if header.window == 1 { return PutPlace() }
        let size = WindowSize(byteCount: Self.byteCount, signalCount: 7)
        if let fault = header.fault(byteCount: Int(header.length), window: size) {
            throw PutFault(fact: fault)
        }
        return PutPlace(target: bytes + Int(header.offset), memory: nil)
    }

    func landed(_ header: PutHeader, on rail: Int) throws(PutFault) { landed.append(header) }
}

/// What a connection brings, in pieces of any length: raw bytes, or puts built from them.
private func fuzzStream(_ bytes: [UInt8], isBuilt: Bool) {
    let (sent, headers) = isBuilt ? built(from: bytes) : (bytes, [])
    let window = FuzzWindow()
    var stream = PutStream(rail: 5)
    var random = UInt64(bytes.count) &* 0x9e37_79b9_7f4a_7c15
    for byte in bytes.prefix(8) { random = random &* 31 &+ UInt64(byte) }
    var position = 0
    while position < sent.count {
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let split = 1 + Int(random >> 33) % (random >> 63 == 0 ? 100 : 5000)
        let taken = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
            let (count, room) = stream.vectors(into: vectors, limit: 3000)
            precondition(room > 0 && count <= 2)
            let whole = min(split, room, sent.count - position)
            var left = whole
            for vector in vectors.prefix(count) {
                let here = min(left, vector.iov_len)
                sent.withUnsafeBytes {
                    vector.iov_base.copyMemory(
                        from: $0.baseAddress! + position + whole - left, byteCount: here)
                }
                left -= here
            }
            return whole
        }
        position += taken
        guard (try? stream.took(taken, window)) != nil else {
            precondition(!isBuilt, "puts that are well are refused")
            return
        }
    }
    precondition(window.placed - window.landed.count <= 1)
    if isBuilt { precondition(window.landed == headers, "puts are lost, or come twice") }
}

/// A put from every four bytes, with its bytes behind it.
private func built(from bytes: [UInt8]) -> ([UInt8], [PutHeader]) {
    var sent: [UInt8] = []
    var headers: [PutHeader] = []
    for index in stride(from: 0, to: bytes.count - 3, by: 4) where sent.count < 1 << 16 {
        let kind = PutHeader.Kind(rawValue: bytes[index] % 8) ?? .put
        var header = PutHeader(kind, source: 1, key: 2)
        header.sequence = UInt64(index)
        if kind == .put {
            header.window = bytes[index + 1] > 250 ? 1 : 0
            header.length = UInt64(bytes[index + 1]) * UInt64(bytes[index + 2]) % 4097
            header.offset = UInt64(bytes[index + 3]) % (4097 - header.length)
        }
        headers.append(header)
        sent += header.encoded()
        sent += [UInt8](repeating: bytes[index], count: Int(header.length))
    }
    return (sent, headers)
}

/// Bytes are sequence numbers, near to what is expected or far from it.
private func fuzzOrder(_ bytes: [UInt8]) {
    var order = PutOrder()
    var published: UInt64 = 0
    var begun: [UInt64] = []
    for byte in bytes.prefix(512) {
        let sequence = byte < 250 ? UInt64(byte % 50) : UInt64.max - UInt64(byte)
        let publication = PutOrder.Publication(window: 0, signal: 0, value: sequence)
        if byte % 3 == 0, order.begin(sequence) {
            begun.append(sequence)
        } else if byte % 3 == 1, let first = begun.popLast() {
            order.land(first, .init(window: 0, signal: 0, value: first)) { seen in
                precondition(seen.value > published, "signals go back")
                published = seen.value
            }
        } else {
            _ = order.arrive(sequence, publication) { seen in
                precondition(seen.value > published, "signals go back")
                published = seen.value
            }
        }
    }
    precondition(published <= order.publishedThrough)
}

@main enum TransportFuzz {
    static func main() { FuzzRun.main(fuzzTransport) }
}
