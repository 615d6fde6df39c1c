import Crypto
import Foundation

extension ControlToken {
    /// HMAC-SHA256 of a statement under this token.
    func proof(of statement: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: statement, using: key))
    }

    /// Compares in a time that does not depend on where the first difference is.
    func isProof(_ proof: [UInt8], of statement: [UInt8]) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(proof, authenticating: statement, using: key)
    }

    private var key: SymmetricKey { SymmetricKey(data: bytes) }
}
