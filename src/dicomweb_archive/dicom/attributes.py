"""Which attribute belongs to which level, is answered there, and must be matchable there.

Levels follow the information entities of PS3.3 (modules C.7.1 to C.7.5), as the query models of PS3.4 C.6
do. Attributes of the equipment and of the frame of reference count as series level: one series is made by
one equipment in one frame of reference. Everything else, private attributes included, is instance level.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.dicom.tags import tag_of


def _tag(keyword: str) -> int:
    tag = tag_of(keyword)
    assert tag is not None, f"{keyword} is not in the data dictionary"
    return tag


def _tags(keywords: str) -> frozenset[int]:
    return frozenset(map(_tag, keywords.split()))


INSTANCE_AVAILABILITY: Final = 0x00080056

TIMEZONE_OFFSET: Final = 0x00080201
"""Timezone Offset From UTC: answered at every level, so it is kept with studies and with series."""

PATIENT_LEVEL: Final = _tags(
    """
    PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence
    SourcePatientGroupIdentificationSequence GroupOfPatientsIdentificationSequence
    PatientBirthDate PatientBirthTime PatientBirthDateInAlternativeCalendar
    PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar PatientSex QualityControlSubject
    StrainDescription StrainNomenclature StrainStockSequence StrainAdditionalInformation StrainCodeSequence
    GeneticModificationsSequence OtherPatientIDs OtherPatientIDsSequence OtherPatientNames
    PatientBirthName PatientAddress PatientMotherBirthName MilitaryRank BranchOfService
    CountryOfResidence RegionOfResidence PatientTelephoneNumbers EthnicGroup PatientReligiousPreference
    PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence
    BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization
    PatientComments ReferencedPatientSequence ReferencedPatientPhotoSequence
    PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
    ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    """
)
"""Attributes of the Patient and Clinical Trial Subject modules (PS3.3 C.7.1.1, C.7.1.3)."""

STUDY_LEVEL: Final = _tags(
    """
    StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber IssuerOfAccessionNumberSequence
    ReferringPhysicianName ReferringPhysicianIdentificationSequence
    ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers
    ConsultingPhysicianName ConsultingPhysicianIdentificationSequence
    StudyDescription ProcedureCodeSequence PhysiciansOfRecord PhysiciansOfRecordIdentificationSequence
    NameOfPhysiciansReadingStudy PhysiciansReadingStudyIdentificationSequence
    RequestingService RequestingServiceCodeSequence RequestingPhysician
    RequestingPhysicianIdentificationSequence RequestedProcedureDescription
    RequestedProcedureCodeSequence RequestedProcedurePriority ReferencedStudySequence
    ReasonForPerformedProcedureCodeSequence ReasonForStudy ReasonForVisit ReasonForVisitCodeSequence
    StudyStatusID StudyComments OtherStudyNumbers InterpretationAuthor
    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence AdmissionID IssuerOfAdmissionIDSequence
    AdmittingDate AdmittingTime ServiceEpisodeID ServiceEpisodeDescription
    IssuerOfServiceEpisodeIDSequence PatientState
    PatientAge PatientSize PatientSizeCodeSequence PatientWeight PatientBodyMassIndex MeasuredAPDimension
    MeasuredLateralDimension MedicalAlerts Allergies Occupation SmokingStatus AdditionalPatientHistory
    PregnancyStatus LastMenstrualDate PatientSexNeutered
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription LongitudinalTemporalOffsetFromEvent
    LongitudinalTemporalEventType ConsentForClinicalTrialUseSequence
    TimezoneOffsetFromUTC
    """
)
"""Attributes of the General Study, Patient Study and Clinical Trial Study modules (PS3.3 C.7.2)."""

SERIES_LEVEL: Final = _tags(
    """
    SeriesInstanceUID Modality SeriesNumber SeriesDate SeriesTime SeriesDescription
    SeriesDescriptionCodeSequence Laterality BodyPartExamined PatientPosition AnatomicalOrientationType
    ProtocolName PerformingPhysicianName PerformingPhysicianIdentificationSequence
    OperatorsName OperatorIdentificationSequence RelatedSeriesSequence
    SmallestPixelValueInSeries LargestPixelValueInSeries
    ReferencedPerformedProcedureStepSequence RequestAttributesSequence PerformedProcedureStepID
    PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime
    PerformedProcedureStepDescription PerformedProtocolCodeSequence
    CommentsOnThePerformedProcedureStep TreatmentSessionUID
    ClinicalTrialCoordinatingCenterName ClinicalTrialSeriesID ClinicalTrialSeriesDescription
    Manufacturer ManufacturerModelName ManufacturerDeviceClassUID InstitutionName InstitutionAddress
    InstitutionCodeSequence InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence StationName
    DeviceSerialNumber DeviceUID GantryID UniqueDeviceIdentifier UDISequence SoftwareVersions SpatialResolution
    DateOfLastCalibration TimeOfLastCalibration
    FrameOfReferenceUID PositionReferenceIndicator SynchronizationFrameOfReferenceUID
    TimezoneOffsetFromUTC
    """
)
"""Attributes of the series, equipment and frame of reference modules (PS3.3 C.7.3, C.7.4, C.7.5)."""

COMPUTED: Final = _tags(
    """
    RetrieveAETitle InstanceAvailability ModalitiesInStudy SOPClassesInStudy RetrieveURL
    AvailableTransferSyntaxUID NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries
    NumberOfPatientRelatedInstances NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
    NumberOfSeriesRelatedInstances
    """
)
"""What the archive says of its own holdings (PS3.4 C.3.4); never taken from a data set."""

_COMPUTED_OF_STUDY = _tags(
    """
    ModalitiesInStudy SOPClassesInStudy NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
    NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances
    """
)
_COMPUTED_OF_SERIES = _tags("NumberOfSeriesRelatedInstances")

_LEVEL_OF: Final[Mapping[int, Level]] = MappingProxyType(
    {
        **dict.fromkeys(SERIES_LEVEL | _COMPUTED_OF_SERIES, Level.SERIES),
        **dict.fromkeys(PATIENT_LEVEL | STUDY_LEVEL | _COMPUTED_OF_STUDY, Level.STUDY),
    }
)


def level_of(tag: int) -> Level:
    """Tell at which level an attribute is known; patient attributes count as study level (PS3.4 C.6.2)."""
    return _LEVEL_OF.get(tag, Level.INSTANCE)


ReturnType: TypeAlias = Literal["R", "C", "U"]
"""R: always present, empty when unknown; C: present when known; U: the unique key."""


class ReturnAttribute(NamedTuple):
    """One line of a table of returned attributes (PS3.18 10.6.3.3)."""

    tag: int
    type: ReturnType


def _returned(table: str) -> tuple[ReturnAttribute, ...]:
    kinds: dict[str, ReturnType] = {"R": "R", "C": "C", "U": "U"}
    lines = (line.split() for line in table.strip().splitlines())
    return tuple(sorted(ReturnAttribute(_tag(keyword), kinds[kind]) for keyword, kind in lines))


STUDY_RETURN: Final = _returned(
    """
    StudyDate R
    StudyTime R
    AccessionNumber R
    InstanceAvailability C
    ModalitiesInStudy R
    ReferringPhysicianName R
    TimezoneOffsetFromUTC C
    RetrieveURL C
    PatientName R
    PatientID R
    PatientBirthDate R
    PatientSex R
    StudyInstanceUID U
    StudyID R
    NumberOfStudyRelatedSeries R
    NumberOfStudyRelatedInstances R
    """
)
"""PS3.18 Table 10.6.3-3, ascending by tag."""

SERIES_RETURN: Final = _returned(
    """
    Modality R
    TimezoneOffsetFromUTC C
    SeriesDescription C
    RetrieveURL R
    SeriesInstanceUID U
    SeriesNumber R
    NumberOfSeriesRelatedInstances R
    PerformedProcedureStepStartDate C
    PerformedProcedureStepStartTime C
    RequestAttributesSequence C
    """
)
"""PS3.18 Table 10.6.3-4, ascending by tag."""

INSTANCE_RETURN: Final = _returned(
    """
    SOPClassUID R
    SOPInstanceUID U
    InstanceAvailability C
    TimezoneOffsetFromUTC C
    RetrieveURL R
    InstanceNumber R
    Rows C
    Columns C
    BitsAllocated C
    NumberOfFrames C
    """
)
"""PS3.18 Table 10.6.3-5, ascending by tag."""
