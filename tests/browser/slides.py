"""A whole slide image in two levels, of coloured blocks (PS3.3 A.32.8)."""

from io import BytesIO
from typing import Any

from PIL import Image, ImageCms
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage
from tests.browser import fingerprints
from tests.browser.encoded import colour_image
from tests.browser.fingerprints import Levels
from tests.factories import ROOT, part10

STUDY = f"{ROOT}.430"
ROWS, COLUMNS, TILE = 768, 1024, 256
NAME = "slide"
PROFILE_BYTES = 4096


def whole_slide(*, reduced: int = 1) -> Levels:
    """Return the slide at one `reduced`-th of its size."""
    return fingerprints.colour(NAME, ROWS // reduced, COLUMNS // reduced)


def slide_levels() -> list[bytes]:
    """Return the levels, the finest first: 4 x 3 tiles, and one tile that the lower quarter does not fill."""
    return [_level(number, reduced) for number, reduced in enumerate((1, 4), start=1)]


def _level(number: int, reduced: int) -> bytes:
    levels = whole_slide(reduced=reduced)
    dataset = colour_image(
        SOPClassUID=VLWholeSlideMicroscopyImageStorage,
        Modality="SM",
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=f"{STUDY}.1",
        SOPInstanceUID=f"{STUDY}.1.{number}",
        InstanceNumber=number,
        PatientID="SLIDE",
        PatientName="Slide^Blocks",
        SeriesDescription="Blocks on glass",
        PhotometricInterpretation="YBR_FULL_422",
    )
    tiles = [
        _jpeg(levels[top : top + TILE, left : left + TILE])
        for top in range(0, levels.shape[0], TILE)
        for left in range(0, levels.shape[1], TILE)
    ]
    _add_slide(dataset, levels, reduced)
    _add_specimen(dataset)
    dataset.NumberOfFrames = len(tiles)
    dataset.PixelData = encapsulate(tiles)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return part10(dataset, JPEGBaseline8Bit)


def _jpeg(tile: Levels) -> bytes:
    """Encode a tile; what lies beyond the slide's edge is white."""
    whole, stream = Image.new("RGB", (TILE, TILE), "white"), BytesIO()
    whole.paste(Image.fromarray(tile))
    whole.save(stream, format="JPEG", quality=90, subsampling="4:2:2")
    return stream.getvalue()


def _add_slide(dataset: Dataset, levels: Levels, reduced: int) -> None:
    """Say how the tiles lie on the glass (PS3.3 C.8.12.4)."""
    dataset.ImageType = ["ORIGINAL" if reduced == 1 else "DERIVED", "PRIMARY", "VOLUME", "NONE"]
    dataset.FrameOfReferenceUID = f"{STUDY}.9"
    dataset.PositionReferenceIndicator = "SLIDE_CORNER"
    dataset.Rows = dataset.Columns = TILE
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = levels.shape[:2]
    dataset.TotalPixelMatrixFocalPlanes = 1
    millimetres = 0.001 * reduced
    dataset.ImagedVolumeHeight, dataset.ImagedVolumeWidth = 0.001 * ROWS, 0.001 * COLUMNS
    dataset.ImagedVolumeDepth = 1.0
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    dataset.TotalPixelMatrixOriginSequence = [
        _item(XOffsetInSlideCoordinateSystem=20, YOffsetInSlideCoordinateSystem=40)
    ]
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=f"{STUDY}.8")]
    dataset.NumberOfOpticalPaths = 1
    dataset.VolumetricProperties, dataset.SpecimenLabelInImage, dataset.FocusMethod = "VOLUME", "NO", "AUTO"
    dataset.ExtendedDepthOfField, dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "NO", "01"
    dataset.AcquisitionDateTime = "20240131101500"
    measures = _item(PixelSpacing=[millimetres, millimetres], SliceThickness=1.0)
    kind = _item(FrameType=dataset.ImageType)
    dataset.SharedFunctionalGroupsSequence = [
        _item(PixelMeasuresSequence=Sequence([measures]), WholeSlideMicroscopyImageFrameTypeSequence=Sequence([kind]))
    ]
    # Long enough to be bulk data, as those of scanners are.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().ljust(PROFILE_BYTES, b"\0")
    dataset.OpticalPathSequence = [
        _item(
            OpticalPathIdentifier="1",
            ICCProfile=profile,
            IlluminationTypeCodeSequence=Sequence([_code("111744", "Brightfield illumination", "DCM")]),
            IlluminationColorCodeSequence=Sequence([_code("414298005", "Full Spectrum", "SCT")]),
        )
    ]


def _add_specimen(dataset: Dataset) -> None:
    """Name what is on the glass (PS3.3 C.7.6.22)."""
    dataset.ContainerIdentifier = "BLOCKS-1"
    dataset.IssuerOfTheContainerIdentifierSequence = []
    dataset.ContainerTypeCodeSequence = [_code("433466003", "Microscope slide", "SCT")]
    dataset.SpecimenDescriptionSequence = [
        _item(
            SpecimenIdentifier="BLOCKS-1",
            SpecimenUID=f"{STUDY}.7",
            IssuerOfTheSpecimenIdentifierSequence=Sequence(),
            SpecimenPreparationSequence=Sequence(),
        )
    ]


def _code(value: str, meaning: str, scheme: str) -> Dataset:
    return _item(CodeValue=value, CodeMeaning=meaning, CodingSchemeDesignator=scheme)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
