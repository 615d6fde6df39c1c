import CFuzzDriver
import Foundation

/// A harness's run: hands the driver's inputs to a function.
public enum FuzzRun {
    private nonisolated(unsafe) static var test: ([UInt8]) -> Void = { _ in }

    /// Tests inputs until the driver has enough, then ends the program.
    public static func main(_ test: @escaping ([UInt8]) -> Void) -> Never {
        unsafe Self.test = test
        exit(
            unsafe fuzz_drive(CommandLine.argc, CommandLine.unsafeArgv) { data, size in
                unsafe FuzzRun.test(Array(UnsafeBufferPointer(start: data, count: size)))
                return 0
            })
    }
}
