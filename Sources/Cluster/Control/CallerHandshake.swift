/// The caller's side of a handshake.
struct CallerHandshake {
    enum Action: Equatable {
        case wait
        /// The coordinator has the token: send this proof, then frames.
        case prove([UInt8])
        /// It never will be: the versions differ.
        case refused(reason: String)
        /// The process that answered is not our coordinator.
        case mistrust(reason: String)
    }

    private let token: ControlToken
    private let key: HandshakeKey
    let greeting: Greeting
    private var received: [UInt8] = []
    /// The public keys of both ends, once both are known.
    private(set) var session: [UInt8] = []
    /// What seals this end's frames, once the other end has proved itself.
    private(set) var seals: FrameSeals?

    init(_ token: ControlToken, role: Handshake.Role, key: HandshakeKey = .random()) {
        self.token = token
        self.key = key
        greeting = Greeting(role: role, key: key.published)
    }

    /// Bytes of this handshake that have not come yet; what follows them is frames.
    var missing: Int { GreetingAnswer.byteCount - received.count }

    /// Takes in at most `missing` bytes.
    mutating func take(_ bytes: [UInt8]) -> Action {
        precondition(bytes.count <= missing, "\(bytes.count) bytes, \(missing) are missing")
        received += bytes
        guard missing == 0 else { return .wait }
        guard let answer = GreetingAnswer(received) else {
            return .mistrust(reason: "what listens there does not answer as a coordinator does")
        }
        guard answer.version == greeting.version else {
            return .refused(
                reason: "protocol version differs: the coordinator has \(answer.version),"
                    + " the \(greeting.role) has \(greeting.version)")
        }
        func statement(_ side: Handshake.Side) -> [UInt8] {
            Handshake.statement(of: side, greeting, coordinatorKey: answer.key)
        }
        guard token.isProof(answer.proof, of: statement(.coordinator)) else {
            return .mistrust(reason: "what listens there did not prove that it has our token")
        }
        guard let shared = key.shared(with: answer.key) else {
            return .mistrust(reason: "what listens there sent a public key that is none")
        }
        session = greeting.key + answer.key
        seals = FrameSeals(of: .caller, token, session: session, shared: shared)
        return .prove(token.proof(of: statement(.caller)))
    }
}
