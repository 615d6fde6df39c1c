import Encoding

/// What a rank without the model's folder asks one that has it, and what that answers.
///
/// A TCP connection. First the handshake of the control plane, for a role of its own. Then the
/// caller sends requests of fixed size, and each is answered in turn. Integers are big-endian.
///
/// A file is named by its number in the manifest: no path comes from the wire. An answer carries
/// the SHA-256 of its bytes and a proof of it under the job's token, so that weights which were
/// changed on the way are noticed.
enum WeightProtocol {
    /// Longest piece of a file, and longest manifest.
    static let mostBytes = 4 << 20
    /// Requests that a caller may send ahead on one connection.
    static let mostWaiting = 16
    /// Requests that a receiver sends ahead: the next piece travels while one is written.
    static let requestsAhead = 2
    /// Files of a manifest: a checkpoint has one per some GB.
    static let mostFiles = 65_536
    /// Longest name of a file, bytes.
    static let longestName = 255
    /// Longest digest of a folder, bytes.
    static let longestContent = 64
    /// Connections that are served at a time.
    static let mostConnections = 256
    /// Time after which a connection without a request, or that takes no answer, is closed.
    static let idleLimit = Duration.seconds(60)
    /// Silence of a source that was asked, after which it is given up.
    static let silenceLimit = Duration.seconds(10)
    /// Connections of a receiver to each source: one is written while the other is read.
    static let connectionsPerSource = 2

    /// What the proof of an answer is computed over.
    ///
    /// - Parameter session: The random bytes of both ends.
    static func statement(
        _ session: [UInt8], _ request: WeightRequest, _ answer: WeightAnswer
    ) -> [UInt8] {
        Array("weights".utf8) + session + request.encoded() + answer.statement
    }

    /// Whether an answer is from who has the token, for this request, and its bytes as it says.
    static func isRight(
        _ body: [UInt8], _ answer: WeightAnswer, to request: WeightRequest, _ session: [UInt8],
        _ token: ControlToken
    ) -> Bool {
        token.isProof(answer.proof, of: statement(session, request, answer))
            && (answer.kind == .same || Digest(of: body) == answer.digest)
    }

    fileprivate static func words(_ value: some FixedWidthInteger) -> [UInt8] {
        (0 ..< value.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    fileprivate static func integer(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Asks for bytes of a file, or for the manifest: file (4 bytes), count (4), offset (8), and the
/// digest of what the caller has of them, or zeros.
struct WeightRequest: Equatable {
    static let byteCount = 16 + Digest.byteCount
    /// The number that stands for the manifest.
    static let manifestFile = Int(UInt32.max)

    var file: Int
    var bytes: Range<Int>
    /// Nil where the caller has nothing.
    var held: Digest?

    static let manifest = WeightRequest(file: manifestFile, bytes: 0 ..< 0)

    init(file: Int, bytes: Range<Int>, held: Digest? = nil) {
        self.file = file
        self.bytes = bytes
        self.held = held
    }

    /// Reads a request; nil for bytes that are none.
    init?(_ encoded: [UInt8]) {
        guard encoded.count == Self.byteCount else { return nil }
        let count = WeightProtocol.integer(encoded[4 ..< 8])
        let offset = WeightProtocol.integer(encoded[8 ..< 16])
        guard count <= WeightProtocol.mostBytes, offset <= 1 << 60 else { return nil }
        file = Int(WeightProtocol.integer(encoded[0 ..< 4]))
        bytes = Int(offset) ..< Int(offset) + Int(count)
        let digest = Array(encoded[16...])
        held = digest.allSatisfy { $0 == 0 } ? nil : Digest(bytes: digest)
    }

    func encoded() -> [UInt8] {
        WeightProtocol.words(UInt32(file)) + WeightProtocol.words(UInt32(bytes.count))
            + WeightProtocol.words(UInt64(bytes.lowerBound))
            + (held?.bytes ?? [UInt8](repeating: 0, count: Digest.byteCount))
    }
}

/// The head of an answer: what follows (4 bytes), its count (4), its digest and a proof of that.
struct WeightAnswer: Equatable {
    static let byteCount = 8 + Digest.byteCount + Handshake.proofBytes

    enum Kind: UInt32 {
        /// The bytes that were asked for.
        case bytes = 0
        /// Nothing: the caller has them.
        case same = 1
        /// Why not, as text.
        case refused = 2
    }

    var kind: Kind
    var count: Int
    var digest: Digest
    var proof = [UInt8](repeating: 0, count: Handshake.proofBytes)

    init(_ kind: Kind, count: Int, digest: Digest) {
        self.kind = kind
        self.count = count
        self.digest = digest
    }

    /// Reads a head; nil for bytes that are none.
    init?(_ encoded: [UInt8]) {
        guard encoded.count == Self.byteCount,
            let kind = Kind(rawValue: UInt32(WeightProtocol.integer(encoded[0 ..< 4])))
        else { return nil }
        let count = WeightProtocol.integer(encoded[4 ..< 8])
        guard count <= WeightProtocol.mostBytes,
            let digest = Digest(bytes: Array(encoded[8 ..< 8 + Digest.byteCount]))
        else { return nil }
        self.kind = kind
        self.count = Int(count)
        self.digest = digest
        proof = Array(encoded[(8 + Digest.byteCount)...])
    }

    /// What is proved of it.
    var statement: [UInt8] {
        WeightProtocol.words(kind.rawValue) + WeightProtocol.words(UInt32(count)) + digest.bytes
    }

    func encoded() -> [UInt8] { statement + proof }
}
