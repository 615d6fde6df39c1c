import CCrypto
import Encoding

extension ControlToken {
    /// HMAC-SHA256 of a statement under this token.
    func proof(of statement: [UInt8]) -> [UInt8] { Digest(of: statement, under: bytes).bytes }

    /// Compares in a time that does not depend on where the first difference is.
    func isProof(_ proof: [UInt8], of statement: [UInt8]) -> Bool {
        let right = self.proof(of: statement)
        return crypto_equal(proof, proof.count, right, right.count)
    }
}
