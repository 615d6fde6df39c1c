import Topology

/// What one file of a `FileExchange` holds.
struct FileBlob: Equatable, Sendable {
    var token: String
    var label: String
    var blob: [UInt8]

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(token)
        writer.append(label)
        writer.append(blob)
        return writer.bytes
    }

    /// The blob, if the file is of this run and of this round.
    func checked(
        token ours: String, label expected: String, from rank: Rank
    ) throws(TransportError) -> [UInt8] {
        guard token == ours else { throw .refused("\(rank) has another token") }
        guard label == expected else {
            throw .disagreement(rank, subject: "an exchange of", theirs: label, ours: expected)
        }
        return blob
    }
}

extension FileBlob {
    init(decoding bytes: [UInt8], from rank: Rank) throws(TransportError) {
        var reader = WireReader(bytes, from: rank.description)
        token = try reader.text("token", limit: RendezvousToken.byteCount)
        label = try reader.text("label", limit: ExchangeLimit.labelBytes)
        blob = try reader.blob("blob", limit: ExchangeLimit.blobBytes)
        try reader.finish()
    }
}
