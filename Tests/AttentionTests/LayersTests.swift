import Attention
import Testing

/// Numbers are what a file says, indices are where a layer lies in it.
@Suite struct LayersTests {
  static let file: [LayerNumber] = [0, 12, 18]

  @Test func numbersAndIndicesFindEachOther() {
    #expect(Self.file.layerIndices == [0, 1, 2])
    for index in Self.file.layerIndices { #expect(Self.file.index(of: Self.file[index]) == index) }
    let twelve: LayerIndex = 1
    #expect(Self.file.index(of: 12) == twelve && Self.file[twelve] == 12)
    #expect(Self.file.index(of: 1) == nil)
    #expect(Self.file.has(2) && !Self.file.has(3) && !Self.file.has(-1))
  }

  @Test func aModelCountsFromNought() {
    let numbers = [LayerNumber].counted(3)
    #expect(numbers == [0, 1, 2] && numbers.map(\.value) == numbers.layerIndices.map(\.value))
  }

  @Test func aNumberReadsWhatItWrites() {
    #expect(LayerNumber("12") == 12 && LayerNumber("12")?.description == "12")
    #expect(LayerNumber("twelve") == nil && LayerNumber("") == nil)
  }

  @Test func orderIsThatOfFiles() {
    #expect([LayerNumber](arrayLiteral: 12, 2, 9).sorted().map(\.description) == ["2", "9", "12"])
    #expect(Set<LayerIndex>([2, 0, 2]).sorted() == [0, 2])
  }
}
