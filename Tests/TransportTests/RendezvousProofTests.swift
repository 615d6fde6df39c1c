import Glibc
import Testing
import Topology

@testable import Transport

/// What both sides of a rendezvous prove before a rank joins.
@Suite struct RendezvousProofTests {
    private let soon = Deadline(.seconds(10), "join")

    /// Golden: Python's `hmac.new(b"secret", purpose + challenge + head + challenge, "sha256")`.
    @Test func `neither side sends the token, and both prove that they have it`() throws {
        let token = try RendezvousToken("secret")
        var greeting = RendezvousGreeting()
        greeting.challenge = Array(0 ..< 32)
        var request = JoinRequest(rank: 1, rankCount: 2, token: token, greeting: greeting)
        #expect(request.encoded().count == JoinRequest.byteCount)
        #expect(!String(decoding: request.encoded(), as: UTF8.self).contains("secret"))
        request.challenge = Array(100 ..< 132)
        let proof = "654d6a2ff6da8cd70ca628c837eec2c24ae8051d2e603ee24555bbed0d86cbdf"
        let right = request.encoded().prefix(48) + bytes(proof)
        let read = try JoinRequest(
            decoding: Array(right), expecting: token, greeting: greeting, rankCount: 2)
        #expect(read.rank == 1 && read.proof == bytes(proof))
        let answer = "854d9c8fc73bd5d099882073030492b7c1045acc25360fc348978bb850636747"
        #expect(read.welcomeProof(token, greeting) == bytes(answer))
        var other = greeting
        other.challenge[31] ^= 1
        #expect(throws: TransportError.refused("the token is another")) {
            try JoinRequest(
                decoding: Array(right), expecting: token, greeting: other, rankCount: 2)
        }
        for index in right.indices {
            var changed = Array(right)
            changed[index] ^= 1
            #expect(throws: TransportError.self, "byte \(index)") {
                try JoinRequest(
                    decoding: changed, expecting: token, greeting: greeting, rankCount: 2)
            }
        }
    }

    private func bytes(_ hex: String) -> [UInt8] {
        stride(from: 0, to: hex.count, by: 2).map { offset in
            let start = hex.index(hex.startIndex, offsetBy: offset)
            return UInt8(hex[start ..< hex.index(start, offsetBy: 2)], radix: 16) ?? 0
        }
    }

    @Test func `a rendezvous without the token gathers nothing`() throws {
        let server = try StreamSocket.listen(on: try NetworkEndpoint("127.0.0.1:0"))
        let address = "127.0.0.1:\(try server.localPort())"
        try RendezvousTests.threads(2) { index in
            if index == 0 {
                #expect(try server.wait(for: Int32(POLLIN), deadline: soon))
                let socket = try #require(server.accept())
                try socket.sendAll(RendezvousGreeting().encoded(), deadline: soon)
                _ = try socket.receiveAll(JoinRequest.byteCount, deadline: soon)
                let proof = [UInt8](repeating: 7, count: RendezvousToken.proofBytes)
                try socket.sendAll(
                    RendezvousFrame.welcome(proof: proof).encoded(), deadline: soon)
                return
            }
            let error = #expect(throws: TransportError.self) {
                try TCPExchange.connect(
                    to: address, rank: 1, rankCount: 2, token: "secret", deadline: soon)
            }
            #expect("\(error!)".contains("did not prove that it has the token"))
        }
    }
}
