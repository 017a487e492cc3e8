include $(sort $(wildcard $(BR2_EXTERNAL_STILLWATCH_PATH)/package/*/*.mk))
