/// The coordinator's side of a handshake: bytes in, what to do out.
struct CoordinatorHandshake {
    enum Action: Equatable {
        case wait
        case send([UInt8])
        case admit(Handshake.Role)
        /// Send these bytes, which are empty unless the caller spoke our protocol, and close.
        case reject([UInt8], reason: String)
    }

    private let token: ControlToken
    private let key: HandshakeKey
    private let roles: Set<Handshake.Role>
    private var received: [UInt8] = []
    private var greeting: Greeting?
    /// The public keys of both ends, once both are known.
    var session: [UInt8] { (greeting?.key ?? []) + key.published }
    /// What seals this end's frames, once the caller is let in.
    private(set) var seals: FrameSeals?

    /// - Parameter roles: Those that are served here.
    init(
        _ token: ControlToken, roles: Set<Handshake.Role> = [.worker, .observer],
        key: HandshakeKey = .random()
    ) {
        self.token = token
        self.roles = roles
        self.key = key
    }

    /// Bytes of this handshake that have not come yet; what follows them is frames.
    var missing: Int {
        (greeting == nil ? Greeting.byteCount : Handshake.proofBytes) - received.count
    }

    /// Takes in at most `missing` bytes.
    mutating func take(_ bytes: [UInt8]) -> Action {
        precondition(bytes.count <= missing, "\(bytes.count) bytes, \(missing) are missing")
        received += bytes
        guard missing == 0 else { return .wait }
        defer { received = [] }
        if let greeting { return judge(received, greeting) }
        guard let greeting = Greeting(received), roles.contains(greeting.role) else {
            return .reject([], reason: "did not greet as a rank or an observer does")
        }
        var answer = GreetingAnswer()
        guard greeting.version == answer.version else {
            return .reject(
                answer.encoded(),
                reason: "speaks protocol version \(greeting.version), this is \(answer.version)")
        }
        self.greeting = greeting
        answer.key = key.published
        answer.proof = token.proof(
            of: Handshake.statement(of: .coordinator, greeting, coordinatorKey: key.published))
        return .send(answer.encoded())
    }

    private mutating func judge(_ proof: [UInt8], _ greeting: Greeting) -> Action {
        let statement = Handshake.statement(of: .caller, greeting, coordinatorKey: key.published)
        guard token.isProof(proof, of: statement) else {
            return .reject([], reason: "did not prove that it has the token")
        }
        guard let shared = key.shared(with: greeting.key) else {
            return .reject([], reason: "sent a public key that is none")
        }
        seals = FrameSeals(of: .coordinator, token, session: session, shared: shared)
        return .admit(greeting.role)
    }
}
