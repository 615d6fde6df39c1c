import CCrypto

extension ControlToken {
    /// HMAC-SHA256 of a statement under this token.
    func proof(of statement: [UInt8]) -> [UInt8] {
        var proof = [UInt8](repeating: 0, count: Handshake.proofBytes)
        let computed = crypto_hmac_sha256(
            bytes, bytes.count, statement, statement.count, &proof, proof.count)
        precondition(computed, "libcrypto computed no HMAC-SHA256 of \(statement.count) bytes")
        return proof
    }

    /// Compares in a time that does not depend on where the first difference is.
    func isProof(_ proof: [UInt8], of statement: [UInt8]) -> Bool {
        let right = self.proof(of: statement)
        return crypto_equal(proof, proof.count, right, right.count)
    }
}
