import Foundation
@testable import Models

/// Feeds bytes to the reader of `config.json`.
///
/// Whatever the bytes: no trap, and a configuration that is taken has sizes that can be computed
/// with, and survives being written and read.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    let bytes = Data(UnsafeBufferPointer(start: data, count: size))
    guard let configuration = try? ModelConfiguration.parse(bytes, file: "f") else { return 0 }
    precondition(configuration.parameterCounts.total >= configuration.parameterCounts.activated)
    precondition(configuration.cacheWidth > 0 && configuration.attentionScale > 0)
    do {
        let again = try ModelConfiguration.parse(configuration.encoded(), file: "f")
        precondition(again == configuration)
    } catch { preconditionFailure("\(error)") }
    return 0
}
